"""Factors on the learning rate and on eps over the course of training."""

from __future__ import annotations

import math

from robustscape.config.recipes import Schedule


def schedule_factor(schedule: Schedule, progress: float, epochs: int = 1) -> float:
    """Return the schedule's factor when a fraction ``progress`` of the training steps is done.

    Args:
        schedule: its kind and constants; with ``restarts`` each period runs through the whole schedule.
        progress: fraction of the training steps done, in [0, 1).
        epochs: number of epochs of the whole training, for schedules that hold their factor within an epoch.

    >>> schedule_factor(Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.5)
    0.1
    """
    if schedule.hold == "epoch":
        progress = math.floor(progress * epochs + 1e-9) / epochs
    if schedule.kind == "recorded":
        count = len(schedule.values)
        return schedule.values[min(math.floor(progress * count + 1e-9), count - 1)]
    bounds = [0.0, *schedule.restarts, 1.0]
    period = sum(progress >= bound for bound in schedule.restarts)
    done = (progress - bounds[period]) / (bounds[period + 1] - bounds[period])
    value = _factor_within_period(schedule, done)
    return value if schedule.clip is None else min(value, schedule.clip)


def _factor_within_period(schedule: Schedule, done: float) -> float:
    """The factor when a fraction ``done`` of a period is done."""
    match schedule.kind:
        case "multistep":
            return schedule.gamma ** sum(done >= milestone for milestone in schedule.milestones)
        case "linear":
            return schedule.start + (schedule.end - schedule.start) * done
        case "cosine":
            return schedule.start + (schedule.end - schedule.start) * (1 - math.cos(math.pi * done)) / 2
        case "exponential":
            return schedule.start * (schedule.end / schedule.start) ** done
        case "triangle":
            if done < schedule.peak:
                return schedule.start + (1 - schedule.start) * done / schedule.peak
            return 1 - (1 - schedule.end) * (done - schedule.peak) / (1 - schedule.peak)
        case _:
            return 1.0
