"""The epoch in which a run collapsed: catastrophic overfitting, read from its history.

kim2023 section 2.3: the accuracy under a multi-step attack falls towards 0 while that under the single step rises. See
``evaluation.collapse_rule`` for when an epoch counts as collapsed. Reads history.csv; cost: none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from robustscape.errors import UserError
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.collapse_rule import collapse_onsets, collapsed, training_state
from robustscape.evaluation.logs.history import diverged_epoch
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.storage.records import check_recorded

#: Quantity -> its unit, in the order of the rows.
UNITS = {
    "collapsed": "1",
    "robust_throughout": "1",
    "never_robust": "1",
    "catastrophic_overfitting_epoch": "epoch",
    "final_collapse_epoch": "epoch",
    "first_distortion_epoch": "epoch",
    "distortion_vanishes_epoch": "epoch",
    "distortion_back_to_zero_epoch": "epoch",
    "distortion_max_over_training": "percent",
    "distortion_at_collapse": "percent",
    "distortion_at_end": "percent",
    "distortion_defined_at_end": "1",
    "highest_robust_accuracy": "percent",
    "pgd7_accuracy_train_at_end": "percent",
    "recovered_share": "percent",
    "rank_correlation": "1",
}


def collapse(
    run: TrainedRun,
    *,
    robust: str = "train_pgd7",
    single: str = "train_fgsm",
    distortion: str = "train_distortion",
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    visible: Annotated[float, Field(gt=0)] = 1.0,
) -> list[dict[str, Any]]:
    """Return one row per quantity; an epoch that does not exist is NaN, and so is every quantity of a run that diverged.

    The distortion is the share of distorted images among those that are right at both ends of the single step, and undefined
    (NaN) in an epoch without any: it has then neither appeared nor vanished.

    collapsed, robust_throughout and never_robust (1 or 0, at most one of them 1; see ``collapse_rule.training_state``);
    catastrophic_overfitting_epoch and final_collapse_epoch (the first collapsed one, and the first from which on all are);
    first_distortion_epoch, distortion_vanishes_epoch (the first below ``visible`` after a visible one),
    distortion_back_to_zero_epoch (the first below ``visible`` after training collapsed for the last time),
    distortion_max_over_training, distortion_at_collapse (in the first collapsed epoch) and distortion_at_end (percent; NaN where
    undefined) and distortion_defined_at_end (1 or 0: whether an image is right at both ends); highest_robust_accuracy and
    pgd7_accuracy_train_at_end (percent); recovered_share (see ``recovered_share``); and the rank correlation of distortion and
    robust accuracy over the epochs in which the distortion is defined.

    Args:
        run: the trained run.
        robust: column of the accuracy under the multi-step attack.
        single: column of the accuracy under the single step.
        distortion: column of the distortion.
        share: fraction of the highest robust accuracy so far, below which an epoch has collapsed.
        visible: distortion in percent from which it counts.

    Raises:
        UserError: the history has no such column.
    """
    history = pd.read_csv(check_recorded(run.path / "history.csv"))
    missing = [column for column in (robust, single, distortion) if column not in history]
    if missing:
        raise UserError(f"{run.path / 'history.csv'} has no column {missing}; the recipe has no such probe.")
    shared = {**method_columns(run), "robust": robust, "single": single, "share": share, "visible": visible}
    if diverged_epoch(run) is None:
        found = _quantities(history.dropna(subset=[robust, single]), robust, single, distortion, share, visible)
    else:
        found = dict.fromkeys(UNITS)
    return [
        {"metric": name, "value": float("nan") if value is None else value, "unit": UNITS[name], **shared}
        for name, value in found.items()
    ]


def _quantities(
    history: pd.DataFrame, robust: str, single: str, distortion: str, share: float, visible: float
) -> dict[str, float | None]:
    """Return the quantities named in ``UNITS``, of the epochs of a history; None for what there is not."""
    epochs, accuracy = history["epoch"].tolist(), history[robust].tolist()
    distortions, under_one_step = history[distortion].tolist(), history[single].tolist()
    is_collapsed, state = collapsed(accuracy, under_one_step, share), training_state(accuracy, under_one_step, share)
    turn = is_collapsed.index(True) if any(is_collapsed) else None
    final, _ = last_collapse(accuracy, under_one_step, distortions, share, visible)
    since_then = [final is not None and i > final and value < visible for i, value in enumerate(distortions)]
    defined = [i for i, value in enumerate(distortions) if not math.isnan(value)]
    return {
        "collapsed": float(state == "collapsed"),
        "robust_throughout": float(state == "robust throughout"),
        "never_robust": float(state == "never robust"),
        "catastrophic_overfitting_epoch": first_true(epochs, is_collapsed),
        "final_collapse_epoch": start_of_final_stretch(epochs, is_collapsed),
        "first_distortion_epoch": first_true(epochs, [value >= visible for value in distortions]),
        "distortion_vanishes_epoch": first_true(epochs, vanished(distortions, visible)),
        "distortion_back_to_zero_epoch": first_true(epochs, since_then),
        "distortion_max_over_training": max((distortions[i] for i in defined), default=None),
        "distortion_at_collapse": None if turn is None else distortions[turn],
        "distortion_at_end": distortions[-1],
        "distortion_defined_at_end": float(not math.isnan(distortions[-1])),
        "highest_robust_accuracy": max(accuracy),
        "pgd7_accuracy_train_at_end": accuracy[-1],
        "recovered_share": recovered_share(accuracy, is_collapsed, distortions, visible),
        "rank_correlation": rank_correlation([distortions[i] for i in defined], [accuracy[i] for i in defined]),
    }


def last_collapse(
    robust: Sequence[float], single: Sequence[float], distortions: Sequence[float], share: float, visible: float = 1.0
) -> tuple[int | None, int | None]:
    """Return the places at which training collapses for the last time, and at which the distortion has gone since then.

    None for what there is not. These are the epochs whose weights the recipe's ``keep_collapse`` keeps. A training that is
    collapsed from its first place on has no start of a collapse to keep, and no such place.

    Args:
        robust: accuracies under the multi-step attack, in percent; see ``collapse_rule``.
        single: accuracies under the single step, in percent.
        distortions: in percent; NaN counts as none.
        share: fraction of the highest robust accuracy so far, below which robustness is lost.
        visible: distortion in percent from which it counts.
    """
    onsets = collapse_onsets(robust, single, share)
    if not onsets:
        return None, None
    later = range(onsets[-1] + 1, len(distortions))
    return onsets[-1], next((place for place in later if not distortions[place] >= visible), None)


def vanished(values: Sequence[float], visible: float) -> list[bool]:
    """For each value, whether it is below ``visible`` and an earlier one was not; NaN is neither."""
    return [value < visible and any(v >= visible for v in values[:place]) for place, value in enumerate(values)]


def recovered_share(
    robust: Sequence[float], is_collapsed: Sequence[bool], distortions: Sequence[float], visible: float
) -> float | None:
    """Return what comes back of robustness when the distortion disappears, in percent of the highest before the collapse.

    kim2023 section 2.3.1: "when decision boundary distortion disappears, the model immediately recovers robust accuracy". Looked
    for is the first epoch since the first collapse whose distortion is below ``visible`` after a visible one since then; its
    accuracy or that of the next epoch counts, whichever is higher. None without such an epoch, or without any accuracy before.

    Args:
        robust: accuracies under the multi-step attack, in percent, by epoch.
        is_collapsed: whether training is collapsed in each epoch (``collapse_rule.collapsed``).
        distortions: in percent; NaN where undefined.
        visible: distortion in percent from which it counts.
    """
    if not any(is_collapsed):
        return None
    turn = list(is_collapsed).index(True)
    gone = vanished(distortions[turn:], visible)
    highest = max(robust[:turn], default=0.0)
    if not any(gone) or not highest:
        return None
    place = turn + gone.index(True)
    return 100.0 * max(robust[place : place + 2]) / highest


def first_true(epochs: Sequence[int], truths: Sequence[bool]) -> int | None:
    """Return the first of ``epochs`` at which ``truths`` is true; None if there is none."""
    return next((epoch for epoch, truth in zip(epochs, truths, strict=True) if truth), None)


def start_of_final_stretch(epochs: Sequence[int], truths: Sequence[bool]) -> int | None:
    """Return the first of ``epochs`` from which ``truths`` is true to the end; None if it is false at the end."""
    start = len(truths)
    while start and truths[start - 1]:
        start -= 1
    return epochs[start] if start < len(truths) else None


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, in [-1, 1]; ties share their mean rank; None if either is constant."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]

    first_ranks, second_ranks = ranks(a), ranks(b)
    if len(set(first_ranks)) < 2 or len(set(second_ranks)) < 2:
        return None
    return statistics.correlation(first_ranks, second_ranks)
