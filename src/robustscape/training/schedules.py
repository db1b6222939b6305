"""Factors on the learning rate and on eps over the course of training."""

from __future__ import annotations

import math

from robustscape.config.recipes import Schedule


def schedule_factor(schedule: Schedule, progress: float, epochs: int = 1, step: float = 0.0) -> float:
    """Return the schedule's factor when a fraction ``progress`` of the training steps is done.

    Args:
        schedule: its kind and constants; with ``restarts`` each period runs through the whole schedule; with ``warmup`` it
            begins after that.
        progress: fraction of the training steps done, in [0, 1).
        epochs: number of epochs of the whole training, for schedules that hold their factor within an epoch.
        step: fraction of training that one step is, for a warm-up: step k of w, counted from 0, has (k + 1) / (w + 1) of the
            schedule's first factor, as torch's ``LinearLR`` with start_factor 1 / (w + 1) before the schedule.

    >>> schedule_factor(Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.5)
    0.1
    """
    if schedule.hold == "epoch":
        progress = math.floor(progress * epochs + 1e-9) / epochs
    if schedule.kind == "recorded":
        count = len(schedule.values)
        return schedule.values[min(math.floor(progress * count + 1e-9), count - 1)]
    if progress < schedule.warmup:
        return (progress + step) / (schedule.warmup + step) * _factor_after_warmup(schedule, 0.0)
    return _factor_after_warmup(schedule, (progress - schedule.warmup) / (1 - schedule.warmup))


def _factor_after_warmup(schedule: Schedule, progress: float) -> float:
    """The factor when a fraction ``progress`` of the training after the warm-up is done."""
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
