"""What every measurement of a landscape has in common: which samples, which radius, and the columns that say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.runs import TrainedRun


def radius(run: TrainedRun, eps: float | Literal["run"]) -> float:
    """The attack's radius: a number, or the run's own."""
    return run.eps if eps == "run" else float(eps)


def subset(run: TrainedRun, split: Literal["train", "test"], samples: int | None) -> tuple[Tensor, Tensor]:
    """Inputs (n, ...) and labels (n,) of the first ``samples`` of a split, or of all of it.

    Prepared data sets are stored in an order whose every beginning is a fair sample; all runs see the same one.
    """
    data = run.train if split == "train" else run.test
    return data.inputs(slice(samples)), data.y[:samples]


def columns(attack: AttackSpec, eps: float, split: str, samples: int) -> dict[str, Any]:
    """The protocol columns of a row: attack, norm, radius, steps, range, mode of batch normalisation, samples."""
    settings = {key: attack.parameters.get(key) for key in ("steps", "restarts", "step_size", "rel_step_size")}
    return {
        "attack": attack.attack,
        "norm": attack.norm,
        "attack_eps": eps,
        **settings,
        "clip": attack.bounds is not None,
        "model_mode": "eval",
        "split": split,
        "samples": samples,
    }


def rows(shared: dict[str, Any], entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every entry with the shared columns before its own."""
    return [{**shared, **entry} for entry in entries]
