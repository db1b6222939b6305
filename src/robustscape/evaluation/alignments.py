"""Aligned runs among those of a comparison: what each was aligned with, and the learning rate that is chosen (ma2025 6.5.1).

The work sweeps three rates and does not say how one is chosen. Here it is the rate with which examples made on the aligned net
fool a held-out net, which is no target of any table, most often; on the last test images, which no table uses. It is chosen once
for all repetitions of an alignment, and by the same examples whatever is then measured at whatever budget. Cost: an attack on the
held-out images for each aligned run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import predict
from robustscape.config.attacks import AttackSpec
from robustscape.errors import UserError
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.storage.records import read_record

#: Share of the test images, at their end, on which learning rates are chosen, and the most of them.
HELD_OUT_SHARE, HELD_OUT_MOST = 0.2, 1000


@dataclass(frozen=True)
class Alignment:
    """A source that was aligned with witnesses, in one or several repetitions, at the chosen learning rate."""

    source: str
    """Name of the source's net."""
    witness: str
    """Name of the witnesses' net."""
    witness_seeds: tuple[int, ...]
    distance: str
    lr: float
    original: TrainedRun
    """The source before."""
    first_witness: TrainedRun
    repetitions: tuple[TrainedRun, ...]
    """The aligned runs, one per seed."""


def net_name(run: TrainedRun) -> str:
    """Return what tables call the net of a base run: the variant that is its recipe, ``res50`` of ``ma2025_nets-res50``."""
    return str(run.config["recipe"]["name"]).partition("-")[2]


def is_aligned(run: TrainedRun) -> bool:
    """Return whether a run is one that started from another's weights."""
    return "witness" in run.config["recipe"]["parameters"]


def has_diverged(run: TrainedRun) -> bool:
    """Return whether the record of a run says that it diverged, and has the weights from before that epoch."""
    record = read_record(run.path / "run.json")
    return record.get("diverged") is not None


def row_names(run: TrainedRun) -> dict[str, Any]:
    """The columns by which a row says which run it is about, so that its health is that of the run, and whether it diverged.

    A comparison holds runs at rates that were not chosen, some of which may have diverged; the rows are not about these.
    """
    return {
        "architecture": run.names["architecture"],
        "recipe": run.names["recipe"],
        "flag_diverged": has_diverged(run),
    }


def base_runs(runs: Sequence[TrainedRun]) -> dict[tuple[str, int], TrainedRun]:
    """Return the runs that are not aligned, by name and seed."""
    return {(net_name(run), run.seed): run for run in runs if not is_aligned(run)}


def find_base(base: dict[tuple[str, int], TrainedRun], name: str, seed: int) -> TrainedRun:
    """Return a base run.

    Raises:
        UserError: the comparison has none of that name and seed.
    """
    if (name, seed) not in base:
        there = ", ".join(f"{own} (seed {number})" for own, number in sorted(base))
        raise UserError(f"the comparison has no net '{name}' with seed {seed}; it has {there}.")
    return base[name, seed]


def evaluated_images(run: TrainedRun, samples: int | None) -> tuple[Tensor, Tensor]:
    """Return the first ``samples`` test inputs (N, ...) and labels (N,), none of those on which learning rates are chosen.

    They are shuffled, the same way each time, so that the first of those that count are a uniform sample of all that do: the
    order of a test set may be that of its classes.
    """
    most = held_out_start(run)
    x, y = run.subset("test", most if samples is None else min(samples, most))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).to(y.device)
    return x[order], y[order]


def held_out_start(run: TrainedRun) -> int:
    """Return the number of test images before the held-out ones."""
    return len(run.test.y) - min(HELD_OUT_MOST, max(1, int(HELD_OUT_SHARE * len(run.test.y))))


def chosen_alignments(
    runs: Sequence[TrainedRun], held_out: TrainedRun, attack: AttackSpec, eps: float
) -> list[Alignment]:
    """Return every alignment among ``runs`` at its chosen rate, in the order of the first run of each.

    Args:
        runs: of a comparison: base nets and aligned ones.
        held_out: the net whose errors choose.
        attack: makes the examples, from the seed of each repetition.
        eps: its perturbation budget; one for all measurements, so that they choose the same rates.

    Raises:
        UserError: a source or witness is not among ``runs``.
    """
    base = base_runs(runs)
    found: dict[tuple[Any, ...], dict[float, list[TrainedRun]]] = {}
    for run in filter(is_aligned, runs):
        given = run.config["recipe"]["parameters"]
        key = (
            given["source"],
            given["source_seed"],
            given["witness"],
            tuple(given["witness_seeds"]),
            given["distance"],
            given["temperature"],
        )
        rate = float(run.config["recipe"]["optimizer"]["parameters"]["lr"])
        found.setdefault(key, {}).setdefault(rate, []).append(run)
    judge = _HeldOut(held_out, attack, eps)
    alignments = []
    for (source, source_seed, witness, witness_seeds, distance, _), by_rate in found.items():
        lr = judge.best_rate(by_rate)
        alignments.append(
            Alignment(
                source=source,
                witness=witness,
                witness_seeds=witness_seeds,
                distance=distance,
                lr=lr,
                original=find_base(base, source, source_seed),
                first_witness=find_base(base, witness, witness_seeds[0]),
                repetitions=tuple(by_rate[lr]),
            )
        )
    return alignments


class _HeldOut:
    """A net, and the images on which examples are made to fool it: those that it classifies correctly."""

    def __init__(self, run: TrainedRun, attack: AttackSpec, eps: float) -> None:
        self._run, self._attack, self._eps = run, attack, eps
        start = held_out_start(run)
        x, y = run.test.inputs(slice(start, None)), run.test.y[start:]
        right = correctly_classified(run.model, x, y)
        self._numbers = (torch.arange(len(y), device=right.device) + start)[right]
        self._x, self._y = x[right], y[right]

    def best_rate(self, by_rate: dict[float, list[TrainedRun]]) -> float:
        """Return the rate whose runs fool the net most often, the smallest of several; without an attack if there is one rate.

        A rate that broke a run, so that it diverged or its logits are not finite, is chosen only if each did.
        """
        rates = sorted(by_rate)
        return rates[0] if len(rates) == 1 else max(rates, key=lambda rate: self.mean_error(by_rate[rate]))

    def mean_error(self, sources: Sequence[TrainedRun]) -> float:
        """Return the share (percent) of examples made on ``sources`` that the net misclassifies; 0 if it classifies none.

        -1 if one of them is broken.
        """
        if not len(self._y):
            return 0.0
        errors = []
        for run in sources:
            if has_diverged(run) or not bool(predict(run.model, self._x).isfinite().all()):
                return -1.0
            points = craft(run.model, self._x, self._y, self._attack, self._eps, seed=run.seed, index=self._numbers)
            errors.append(percent_true(~correctly_classified(self._run.model, points, self._y)))
        return sum(errors) / len(errors)
