"""When a run collapsed: catastrophic overfitting read from its history.

kim2023 section 2.3: the accuracy under a multi-step attack falls towards 0 while that under the single step rises. An epoch is
collapsed when the robust accuracy is below a share of its highest value so far. Reads history.csv; no passes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from robustscape.errors import UserError
from robustscape.evaluation._adversarial_method import method_columns
from robustscape.evaluation.trained_run import TrainedRun


def collapse(
    run: TrainedRun,
    *,
    robust: str = "train_pgd7",
    distortion: str = "train_distortion",
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    visible: Annotated[float, Field(gt=0)] = 1.0,
) -> list[dict[str, Any]]:
    """Rows: what the history says of a collapse. An epoch that does not exist is NaN.

    collapsed (1 or 0), catastrophic_overfitting_epoch and final_collapse_epoch (the first collapsed one, and the first from
    which on all are); first_distortion_epoch, distortion_vanishes_epoch (the first below ``visible`` after a visible one),
    distortion_max_over_training and distortion_at_end (percent), and the rank correlation of distortion and robust accuracy
    over epochs.

    Args:
        run: the trained run.
        robust: column of the accuracy under the multi-step attack.
        distortion: column of the distortion.
        share: of the highest robust accuracy so far, below which an epoch is collapsed.
        visible: distortion in percent from which on it counts.
    """
    history = pd.read_csv(run.path / "history.csv")
    missing = [column for column in (robust, distortion) if column not in history]
    if missing:
        raise UserError(f"{run.path / 'history.csv'} has no column {missing}; the recipe has no such probe.")
    history = history.dropna(subset=[robust])
    epochs, accuracy = history["epoch"].tolist(), history[robust].tolist()
    bent = history[distortion].fillna(0.0).tolist()  # no sample is right at both ends: nothing is seen
    fallen = collapsed(accuracy, share)
    found: dict[str, tuple[float | None, str]] = {
        "collapsed": (float(any(fallen)), "1"),
        "catastrophic_overfitting_epoch": (first(epochs, fallen), "epoch"),
        "final_collapse_epoch": (final(epochs, fallen), "epoch"),
        "first_distortion_epoch": (first(epochs, [value >= visible for value in bent]), "epoch"),
        "distortion_vanishes_epoch": (first(epochs, vanished(bent, visible)), "epoch"),
        "distortion_max_over_training": (max(bent), "percent"),
        "distortion_at_end": (bent[-1], "percent"),
        "highest_robust_accuracy": (max(accuracy), "percent"),
        "robust_accuracy_at_end": (accuracy[-1], "percent"),
        "rank_correlation": (rank_correlation(bent, accuracy), "1"),
    }
    shared = {**method_columns(run), "robust": robust, "share": share, "visible": visible}
    return [
        {"metric": name, "value": float("nan") if value is None else value, "unit": unit, **shared}
        for name, (value, unit) in found.items()
    ]


def collapsed(accuracy: Sequence[float], share: float) -> list[bool]:
    """Which epochs are below ``share`` of the highest accuracy so far."""
    return [value < share * max(accuracy[: place + 1]) for place, value in enumerate(accuracy)]


def vanished(values: Sequence[float], visible: float) -> list[bool]:
    """Which epochs are below ``visible`` when an earlier one was not."""
    return [value < visible and max(values[: place + 1]) >= visible for place, value in enumerate(values)]


def first(epochs: Sequence[int], truths: Sequence[bool]) -> int | None:
    """The first epoch of which it is true."""
    return next((epoch for epoch, truth in zip(epochs, truths, strict=True) if truth), None)


def final(epochs: Sequence[int], truths: Sequence[bool]) -> int | None:
    """The first epoch from which on it is true."""
    start = len(truths)
    while start and truths[start - 1]:
        start -= 1
    return epochs[start] if start < len(truths) else None


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's, ties sharing their rank; None where one of them is constant."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]

    first_ranks, second_ranks = ranks(a), ranks(b)
    if len(set(first_ranks)) < 2 or len(set(second_ranks)) < 2:
        return None
    return statistics.correlation(first_ranks, second_ranks)
