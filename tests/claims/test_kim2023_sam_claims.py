"""Claims of kim2023 whose finding is a net that does not train (figure 4.8): judged on dead nets, they fail if all are dead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.loading import load_experiment
from robustscape.report import items
from robustscape.report.words import FAILS, HOLDS

ROOT = Path(__file__).parents[2]
STUDY = load_experiment(ROOT / "config", "paper").studies["kim2023"]
BATCHES, MOMENTA = (64, 128, 256, 512), (0.0, 0.5, 0.9, 0.95)
#: Claims about the course of a sweep, which read training losses and accuracies.
SWEEPS = ("K4-9-cifar10", "K4-9-cifar100", "K4-9-accuracy", "K4-9-momentum-cifar10", "K4-9-momentum-cifar100")
Curves = dict[float, tuple[float, float]]


def figure_4_8(batches: Curves, momenta: Curves, noise: float) -> dict[str, str]:
    """Claim -> verdict, from the last loss and accuracy at each batch size and momentum, three seeds with ``noise``.

    The nets whose loss is above 2 carry the flag of under-trained ones.
    """
    item, draw, rows = STUDY.items["figure_4_8"], np.random.default_rng(0), []
    sweeps = (("batch size", "batch_size", batches), ("momentum", "momentum", momenta))
    for dataset in ("cifar10", "cifar100"):
        for sweep, factor, curves in sweeps:
            for level, (loss, accuracy) in curves.items():
                setting = {"batch_size": 512, "momentum": 0.0, factor: level}
                for seed, epoch in ((s, e) for s in range(3) for e in (1, 300)):
                    shared = {"dataset": dataset, "sweep": sweep, **setting, "epoch": epoch, "seed": seed}
                    shared |= {"method": "SAM", "rho": 0.1, "panel": sweep, "setting": f"{factor} = {level}"}
                    shared |= {"flag_under_trained": int(loss > 2), "health": "dead" if loss > 2 else ""}
                    for metric, value, size in (("train_loss", loss, noise), ("test_accuracy", accuracy, 10 * noise)):
                        rows.append(shared | {"metric": metric, "value": value + size * draw.standard_normal()})
    table = items.aggregate_repetitions(pd.DataFrame(rows), item.factors)
    claims = {claim.id: claim for claim in item.claims}
    return {name: claim_verdict(claims[name], table, item.factors, "paper")[0] for name in SWEEPS}


def test_they_hold_where_sam_trains_with_small_batches_and_with_momentum() -> None:
    rising = {64.0: (0.1, 85.0), 128.0: (0.4, 80.0), 256.0: (0.9, 70.0), 512.0: (2.2, 12.0)}
    falling = {0.0: (2.2, 12.0), 0.5: (1.0, 65.0), 0.9: (0.3, 80.0), 0.95: (0.1, 84.0)}
    assert set(figure_4_8(rising, falling, 0.01).values()) == {HOLDS}


@pytest.mark.parametrize(("loss", "accuracy"), [(2.303, 10.0), (0.0, 85.0)], ids=["dead", "trained"])
def test_they_fail_where_all_nets_are_alike(loss: float, accuracy: float) -> None:
    batches, momenta = ({float(level): (loss, accuracy) for level in levels} for levels in (BATCHES, MOMENTA))
    assert set(figure_4_8(batches, momenta, 0.01).values()) == {FAILS}


def test_an_order_within_the_noise_is_no_order() -> None:
    batches = {64.0: (1.0, 60.0), 128.0: (1.001, 59.99), 256.0: (1.002, 59.98), 512.0: (1.003, 59.97)}
    momenta = {0.0: (1.003, 59.97), 0.5: (1.002, 59.98), 0.9: (1.001, 59.99), 0.95: (1.0, 60.0)}
    assert HOLDS not in figure_4_8(batches, momenta, 0.1).values()
