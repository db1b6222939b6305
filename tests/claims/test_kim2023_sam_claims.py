"""Claims of kim2023, chapters 4 and 5: what they ask of nets that do not train and of those beside them, and other conditions."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.loading import load_experiment
from robustscape.data import Split
from robustscape.evaluation.accuracy_gain import accuracy_gain
from robustscape.evaluation.logs.history import history
from robustscape.evaluation.logs.last_epoch import last_epoch
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.report import items
from robustscape.report.figures.panelled_curves import panelled_curves
from robustscape.report.words import FAILS, HOLDS

ROOT = Path(__file__).parents[2]
STUDY = load_experiment(ROOT / "config", "paper").studies["kim2023"]
BATCHES, MOMENTA = (64, 128, 256, 512), (0.0, 0.5, 0.9, 0.95)
#: Claims about the course of a sweep, which read training losses and accuracies.
SWEEPS = ("K4-9-cifar10", "K4-9-cifar100", "K4-9-accuracy", "K4-9-momentum-cifar10", "K4-9-momentum-cifar100")
#: The claim about printed bounds.
BOUNDS = "K4-9-numbers"
Curves = dict[float, tuple[float, float]]
#: What sets the rows beside the printed bounds apart from those of the curves: the data set is the printed word.
BOUND_ROW = {"dataset": "cifar", "sweep": None, "panel": None, "setting": None, "epoch": None}


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
                        if (dataset, sweep, level, epoch) == ("cifar10", "batch size", 512.0, 300):
                            bound = f"{metric}_upper_bound" if "accuracy" in metric else f"final_{metric}_lower_bound"
                            rows.append(rows[-1] | BOUND_ROW | {"metric": bound})
    printed = items.read_rows(ROOT / "resources" / "paper" / f"{item.printed}.csv")
    table = items.aggregate_repetitions(pd.DataFrame(rows), item.factors, printed)
    claims = {claim.id: claim for claim in item.claims}
    return {name: claim_verdict(claims[name], table, item.factors, "paper")[0] for name in (*SWEEPS, BOUNDS)}


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
    verdicts = figure_4_8(batches, momenta, 0.1)
    assert HOLDS not in {verdicts[name] for name in SWEEPS}


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [
        ((0.1, 85.0), (1.5, 45.0), HOLDS),
        ((1.2, 55.0), (1.5, 45.0), FAILS),
        ((0.1, 85.0), (0.8, 45.0), FAILS),
        ((0.1, 85.0), (1.5, 65.0), FAILS),
    ],
    ids=["as in the work", "a small batch does not train", "a large batch trains", "a large batch generalises"],
)
def test_the_bounds_are_those_of_the_large_batch(
    small: tuple[float, float], large: tuple[float, float], verdict: str
) -> None:
    batches = {64.0: small, 128.0: small, 256.0: large, 512.0: large}
    assert figure_4_8(batches, {0.0: large, 0.9: small}, 0.001)[BOUNDS] == verdict


#: Last training loss and test accuracy of SGD and of SAM at the two ends of a sweep: the one that is hard for SAM, the other.
Ends = dict[str, tuple[tuple[float, float], tuple[float, float]]]
OF_THE_WORK: Ends = {"SGD": ((0.1, 75.0), (0.01, 80.0)), "SAM": ((2.2, 20.0), (0.1, 82.0))}
ENDS: dict[str, tuple[Ends, str]] = {
    "as in the work": (OF_THE_WORK, HOLDS),
    "SGD fails as SAM does": ({**OF_THE_WORK, "SGD": ((2.0, 25.0), (0.3, 75.0))}, FAILS),
    "SAM trains nowhere": ({**OF_THE_WORK, "SAM": ((2.2, 12.0), (1.4, 45.0))}, FAILS),
    "SAM does not fail": ({**OF_THE_WORK, "SAM": ((0.1, 75.0), (0.01, 80.0))}, FAILS),
}
CONTROLS = ("K4-9-sam", "K4-9-sam-accuracy", "K4-10-loss", "K4-10-rate", "K4-9-constant", "K4-10-constant")


def verdict_on_ends(name: str, claim_id: str, rows: list[dict[str, Any]]) -> str:
    """The verdict of a claim on these rows, three seeds of each, which hardly differ."""
    item = STUDY.items[name]
    seeds = [row | {"value": row["value"] + 0.001 * seed, "seed": seed} for row in rows for seed in range(3)]
    table = items.aggregate_repetitions(pd.DataFrame(seeds), item.factors)
    claim = next(claim for claim in item.claims if claim.id == claim_id)
    return claim_verdict(claim, table, item.factors, "paper")[0]


@pytest.mark.parametrize("claim", CONTROLS)
@pytest.mark.parametrize("ends", ENDS)
def test_sam_fails_where_sgd_and_its_own_other_end_train(claim: str, ends: str) -> None:
    values, verdict = ENDS[ends]
    rows: list[dict[str, Any]] = []
    for (of, both), control in itertools.product(values.items(), ("batch size", "momentum", "momentum, lr (1 − γ)")):
        for method, (end, (loss, accuracy)) in itertools.product(
            (of, "SAM, constant radius") if of == "SAM" else (of,), enumerate(both)
        ):
            level = {"batch_size": (512, 64)[end], "momentum": 0.0}
            level = level if control == "batch size" else {"batch_size": 512, "momentum": (0.0, 0.9)[end]}
            shared = {"dataset": "cifar10", "control": control, "method": method, **level}
            rows += [shared | {"metric": "final_train_loss", "value": loss}]
            rows += [shared | {"metric": "final_test_accuracy", "value": accuracy}]
    assert verdict_on_ends("controls_chapter_4", claim, rows) == verdict


@pytest.mark.parametrize("ends", ENDS)
def test_momentum_helps_sam_where_sgd_trains_without(ends: str) -> None:
    values, verdict = ENDS[ends]
    rows: list[dict[str, Any]] = []
    for method, both in values.items():
        shared = {"dataset": "cifar10", "method": method, "batch_size": 512}
        for momentum, (loss, accuracy) in zip((0.0, 0.9), both, strict=True):
            at = shared | {"momentum": momentum, "epoch": 300}
            rows += [at | {"metric": "train_loss", "value": loss}, at | {"metric": "test_accuracy", "value": accuracy}]
        gain = "accuracy_gain_lower_bound" if method == "SAM" else "accuracy_gain_approx"
        rows.append(
            shared | {"momentum_from": 0.0, "momentum_to": 0.9, "metric": gain, "value": both[1][1] - both[0][1]}
        )
    assert verdict_on_ends("figure_4_9", "K4-10", rows) == verdict


def logged_rows(folder: Path, diverged: int | None) -> pd.DataFrame:
    """Rows of ``history`` and ``last_epoch`` of five epochs by momentum, three seeds; one of momentum 0.95 may have diverged."""
    split, frames = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1.0), []
    losses = dict(zip(MOMENTA, (2.0, 1.0, 0.3, 0.2), strict=True))
    for (momentum, loss), seed in itertools.product(losses.items(), range(3)):
        path = folder / f"{momentum}_{seed}"
        path.mkdir(parents=True)
        stopped = diverged if (momentum, seed) == (0.95, 2) else None
        epochs = range(1, 6 if stopped is None else stopped)
        log = {"epoch": epochs, "train_loss": [loss + 1 / epoch + 0.001 * seed for epoch in epochs]}
        log["test_accuracy"] = [90 - 20 * loss + epoch + 0.001 * seed for epoch in epochs]
        pd.DataFrame(log).to_csv(path / "history.csv", index=False)
        vouch_for(path / "history.csv", epoch_seconds=[1.0] * (stopped or 5), diverged=stopped)
        optimizer = {"name": "sam", "parameters": {"rho": 0.1, "momentum": momentum}}
        recipe = {"optimizer": optimizer, "epochs": 5, "batch_size": 512, "probes": {"test_accuracy": {"every": 1}}}
        run = TrainedRun(
            nn.Linear(2, 2), split, split, 0.0, seed, torch.device("cpu"), 2, path, {"recipe": recipe | {"traces": {}}}, ""
        )  # fmt: skip
        columns = {"train_loss": "final_train_loss", "test_accuracy": "final_test_accuracy"}
        rows = [*history(run, columns=list(columns)), *last_epoch(run, columns=columns)]
        shared = {
            "dataset": "cifar10",
            "method": "SAM",
            "rho": 0.1,
            "momentum": momentum,
            "batch_size": 512,
            "seed": seed,
        }
        flag = {"flag_diverged": True} if stopped else {}
        pd.DataFrame([{**row, **shared, **flag} for row in rows]).to_csv(path / "measured.csv", index=False)
        frames.append(items.read_rows(path / "measured.csv"))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("diverged", [None, 3])
def test_a_seed_that_diverged_is_neither_left_out_nor_taken_as_it_was(tmp_path: Path, diverged: int | None) -> None:
    """The last epoch is no mean over the other seeds, in figure and table; both are drawn, and say so."""
    rows = logged_rows(tmp_path, diverged)
    figure, table = STUDY.items["figure_4_8"], STUDY.items["controls_chapter_4"]
    logged = rows[rows["metric"].isin(["train_loss", "test_accuracy"])]
    settings = [f"γ = {momentum}" for momentum in logged["momentum"]]
    logged = logged.assign(sweep="momentum", panel="CIFAR-10, momentum", setting=settings)
    ended = rows[rows["metric"].str.startswith("final")].assign(control="momentum")
    items.write_item(figure.model_copy(update={"metrics": ["train_loss", "test_accuracy"]}), logged, tmp_path / "f.csv")
    items.write_item(table, ended, tmp_path / "t.csv")
    read = items.read_rows(tmp_path / "f.csv")
    ends = read[(read["metric"] == "train_loss") & (read["epoch"] == 5)].set_index("momentum")
    assert ends["n"].tolist() == [3, 3, 3, 3]
    assert list(ends.index[ends["value"].isna()]) == ([] if diverged is None else [0.95])
    claim = next(claim for claim in figure.claims if claim.id == "K4-9-momentum-cifar10")
    verdict, evidence = claim_verdict(claim, read, figure.factors, "paper")
    assert verdict == (HOLDS if diverged is None else FAILS), evidence
    drawn = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert drawn.count(" nan ") == (0 if diverged is None else 2)
    assert ("FLAGS, not acknowledged: diverged" in drawn) == (diverged is not None)


@pytest.mark.parametrize("diverged", [None, 0.9, 0.5])
def test_what_momentum_adds_is_unknown_where_a_run_diverged(tmp_path: Path, diverged: float | None) -> None:
    """A run of another momentum changes nothing."""
    split, runs = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1.0), []
    for momentum in (0.0, 0.5, 0.9):
        path = tmp_path / f"{momentum}"
        path.mkdir()
        (path / "run.json").write_text(json.dumps({"diverged": 3 if momentum == diverged else None}))
        optimizer = {"name": "sam", "parameters": {"rho": 0.1, "momentum": momentum}}
        config = {key: {"name": key} for key in ("dataset", "architecture")}
        config |= {"recipe": {"name": "r", "optimizer": optimizer, "batch_size": 512, "epochs": 5}}
        net = nn.Linear(2, 2).eval()
        runs.append(TrainedRun(net, split, split, 0.0, 0, torch.device("cpu"), 2, path, config, ""))
    (row,) = accuracy_gain(runs, low=0, high=0.9)
    assert math.isnan(row["value"]) == row["flag_diverged"] == (diverged == 0.9)


def chapter_5_verdict(name: str, claim_id: str, rows: list[dict[str, Any]]) -> str:
    """The verdict of a claim of chapter 5 on rows of three seeds with these values, and deviations (``std``), if any."""
    item = STUDY.items[name]
    seeds = [
        {**dict.fromkeys(item.factors), **row, "value": row["value"] + (seed - 1) * row.get("std", 0.0), "seed": seed}
        for row in rows
        for seed in range(3)
    ]
    table = items.aggregate_repetitions(pd.DataFrame(seeds).drop(columns="std", errors="ignore"), item.factors)
    claim = next(claim for claim in item.claims if claim.id == claim_id)
    return claim_verdict(claim, table, item.factors, "paper")[0]


@pytest.mark.parametrize(
    ("course", "verdict"),
    [(lambda k: 1 + k, HOLDS), (lambda k: 1 + k**2, FAILS), (lambda k: 1 - k, FAILS), (lambda k: 1.0, FAILS)],
    ids=["straight", "parabola", "falling", "dead"],
)
def test_a_locally_linear_loss_is_a_straight_one_that_rises(course: Callable[[float], float], verdict: str) -> None:
    """Within rho; beyond it, anything goes."""
    rows = [
        {"n_ascent_eval": n, "k": k, "metric": "perturbed_loss", "value": course(k) if k <= 0.1 else 9.0}
        for n in (1, 2, 3, 5)
        for k in np.linspace(0, 0.2, 41).tolist()
    ]
    assert chapter_5_verdict("figure_5_3", "K5-2-linear", rows) == verdict


@pytest.mark.parametrize(("corner", "verdict"), [(0.5, HOLDS), (1.0, FAILS)])
def test_the_gradients_of_a_plane_are_different(corner: float, verdict: str) -> None:
    rows = [
        {"rho": 0.5, "a": a, "b": b, "metric": "gradient_cosine", "value": 1.0 if (a, b) == (0.5, 0) else corner}
        for a in (0.0, 0.5, 1.0)
        for b in (0.0, 0.5, 1.0)
    ]
    assert chapter_5_verdict("figure_5_4", "K5-7-plane", rows) == verdict


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, HOLDS), (-0.15, FAILS)], ids=["falls", "rises"])
@pytest.mark.parametrize("lr", ["0.01", "0.1"])
def test_a_step_that_raises_every_loss_minimises_none(lr: str, shift: float, verdict: str) -> None:
    """The gradient at w lowers the loss least, or raises it most."""
    falls = {"at w": 0.01, "at one step": 0.1, "at two steps": 0.1}
    rows = [
        {"gradient": gradient, "lr": float(lr), "mu": mu, "metric": "loss_decrease", "value": fall + shift}
        for gradient, fall in falls.items()
        for mu in (0.0, 0.5, 1.0)
    ]
    claim = "K5-8-plain" if lr == "0.01" else "K5-8-plain-large"
    assert chapter_5_verdict("figure_5_5", claim, rows) == verdict


@pytest.mark.parametrize(
    ("claim", "dataset", "ascents", "factor"),
    [
        ("K5-5-perturbed", "cifar10", 3, 1.1),
        ("K5-5-perturbed", "cifar100", 5, 1.2),
        ("K5-5-one", "cifar100", 1, 0.9),
        ("K5-5-plain", "cifar100", 0, 0.75),
    ],
)
def test_two_steps_of_training_count_as_three_do(claim: str, dataset: str, ascents: int, factor: float) -> None:
    """The printed losses, and the same with that of the model trained with two steps where the work says it is not."""
    printed = items.read_rows(ROOT / "resources" / "paper" / "kim2023_table_5_1.csv")
    losses = printed[printed["metric"] == "perturbed_loss"]
    assert chapter_5_verdict("table_5_1", claim, losses.to_dict("records")) == HOLDS
    two = (losses["dataset"] == dataset) & (losses["n_ascent_train"] == 2) & (losses["n_ascent_eval"] == ascents)
    assert two.sum() == 1
    other = losses.assign(value=losses["value"].where(~two, factor * losses["value"]))
    assert chapter_5_verdict("table_5_1", claim, other.to_dict("records")) == FAILS


def perturbed_losses(
    gap_at_zero: float = -0.06, gap_at_the_end: float = -0.07, two: float = 0.9
) -> list[dict[str, Any]]:
    """Rows of figure 5.2: CIFAR-100 with the losses of table 5.1 at rho, CIFAR-10 in the opposite order.

    The gaps are those of the model trained with one step to that trained with two, along v_1 at 0 and at 2 rho; ``two`` is the
    factor of the latter's slope along v_2.
    """
    rows = []
    for dataset, rho, sign in (("cifar100", 0.5, 1), ("cifar10", 0.1, -1)):
        for share in np.linspace(0, 1, 41).tolist():
            gap = gap_at_zero + share * (gap_at_the_end - gap_at_zero)
            losses = {(1, 1): 0.16 + 1.2 * share, (1, 2): 0.16 + 2.0 * share}
            losses |= {(2, 1): losses[1, 1] - sign * gap, (2, 2): 0.22 + two * 2.0 * share}
            for (train, evaluated), loss in losses.items():
                shared = {"dataset": dataset, "architecture": "a", "n_ascent_train": train, "n_ascent_eval": evaluated}
                rows.append(shared | {"k": 2 * rho * share, "metric": "perturbed_loss", "value": loss, "std": 0.01})
    return rows


@pytest.mark.parametrize(
    ("claim", "changes", "verdict"),
    [
        ("K5-9-one", {}, HOLDS),
        ("K5-9-one", {"gap_at_zero": 0.01}, FAILS),  # at the smallest radii it has the higher loss
        ("K5-9-one", {"gap_at_the_end": 0.01}, FAILS),  # at the largest
        ("K5-9-one", {"gap_at_zero": -0.004}, FAILS),  # within the error
        ("K5-9-two", {}, HOLDS),
        ("K5-9-two", {"two": 1.0}, FAILS),
    ],
)
def test_figure_5_2_is_judged_at_every_radius_on_cifar100(claim: str, changes: dict[str, float], verdict: str) -> None:
    assert chapter_5_verdict("figure_5_2", claim, perturbed_losses(**changes)) == verdict


def test_figure_5_2_has_both_data_sets_each_over_its_own_radii() -> None:
    item = STUDY.items["figure_5_2"]
    table = items.aggregate_repetitions(pd.DataFrame(perturbed_losses()).drop(columns="std"), item.factors)
    figure = panelled_curves(table.assign(stand_in="", flag_diverged=0), item, **item.options)
    ends = {axes.get_title(): [line.get_xdata()[-1] for line in axes.lines] for axes in figure.axes}
    assert ends == {
        f"{dataset}, along {direction}": pytest.approx([2 * rho] * 2)
        for dataset, rho in (("CIFAR-100", 0.5), ("CIFAR-10", 0.1))
        for direction in ("v₁", "v₂")
    }
