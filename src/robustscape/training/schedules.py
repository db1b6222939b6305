"""Factors over the course of training, for the learning rate and for eps."""

from __future__ import annotations

import math

from robustscape.config.recipes import Schedule


def factor(schedule: Schedule, progress: float, epochs: int = 1) -> float:
    """The schedule's factor when a fraction ``progress`` in [0, 1) of the training steps is done.

    Args:
        schedule: its kind and constants; with ``restarts`` every period runs through all of it.
        progress: share of the steps done.
        epochs: of the whole training, for schedules that hold their factor within an epoch.

    >>> factor(Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.5)
    0.1
    """
    if schedule.hold == "epoch":
        progress = math.floor(progress * epochs + 1e-9) / epochs
    if schedule.kind == "recorded":
        count = len(schedule.values)
        return schedule.values[min(math.floor(progress * count + 1e-9), count - 1)]
    bounds = [0.0, *schedule.restarts, 1.0]
    period = sum(progress >= bound for bound in schedule.restarts)
    share = (progress - bounds[period]) / (bounds[period + 1] - bounds[period])
    value = _shape(schedule, share)
    return value if schedule.clip is None else min(value, schedule.clip)


def _shape(schedule: Schedule, share: float) -> float:
    """The factor when a fraction ``share`` of a period is done."""
    match schedule.kind:
        case "multistep":
            return schedule.gamma ** sum(share >= milestone for milestone in schedule.milestones)
        case "linear":
            return schedule.start + (schedule.end - schedule.start) * share
        case "cosine":
            return schedule.start + (schedule.end - schedule.start) * (1 - math.cos(math.pi * share)) / 2
        case "exponential":
            return schedule.start * (schedule.end / schedule.start) ** share
        case "triangle":
            if share < schedule.peak:
                return schedule.start + (1 - schedule.start) * share / schedule.peak
            return 1 - (1 - schedule.end) * (share - schedule.peak) / (1 - schedule.peak)
        case _:
            return 1.0
