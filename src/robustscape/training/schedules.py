"""Factors over the course of training, for the learning rate and for eps."""

from __future__ import annotations

import math

from robustscape.config.recipes import Schedule


def factor(schedule: Schedule, progress: float) -> float:
    """The schedule's factor when a fraction ``progress`` in [0, 1) of the training steps is done.

    >>> factor(Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.5)
    0.1
    """
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "multistep":
        return schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    share = progress if schedule.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return schedule.start + (schedule.end - schedule.start) * share
