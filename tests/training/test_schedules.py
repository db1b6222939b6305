"""Schedules at their ends and corners."""

from __future__ import annotations

import math

import pytest

from robustscape.config.recipes import Schedule
from robustscape.training.schedules import schedule_factor


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (Schedule(), 0.7, 1.0),
        (Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.49, 1.0),
        (Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.75, 0.01),
        (Schedule(kind="linear"), 0.25, 0.75),
        (Schedule(kind="cosine"), 0.5, 0.5),
        (Schedule(kind="cosine", start=0, end=1), 0.0, 0.0),
        (Schedule(kind="linear", start=0.2, end=1), 1.0, 1.0),
        (Schedule(kind="multistep", milestones=[0.5, 0.75], gamma=0.1), 0.5, 0.1),
        (Schedule(kind="cosine"), 0.25, (1 + math.cos(math.pi / 4)) / 2),
        (Schedule(kind="cosine", start=0.2, end=1), 0.75, 0.2 + 0.8 * (1 - math.cos(0.75 * math.pi)) / 2),
        (Schedule(kind="exponential", start=1, end=0.01), 0.5, 0.1),
        (Schedule(kind="triangle", start=0, end=0, peak=0.4), 0.2, 0.5),
        (Schedule(kind="triangle", start=0, end=0, peak=0.4), 0.4, 1.0),
        (Schedule(kind="triangle", start=0, end=0.4, peak=0.4), 0.7, 0.7),
        (Schedule(kind="triangle", start=0.5, end=0, peak=0.25), 0.5, 2 / 3),
        (Schedule(kind="linear", start=0, end=2, clip=1), 0.25, 0.5),
        (Schedule(kind="linear", start=0, end=2, clip=1), 0.75, 1.0),
        (Schedule(kind="linear", restarts=[0.5]), 0.25, 0.5),
        (Schedule(kind="linear", restarts=[0.5]), 0.5, 1.0),
        (Schedule(kind="linear", restarts=[0.5]), 0.75, 0.5),
        (Schedule(kind="linear", restarts=[0.5, 0.75]), 0.7, 0.2),
    ],
)
def test_factor(schedule: Schedule, progress: float, expected: float) -> None:
    assert schedule_factor(schedule, progress) == pytest.approx(expected)


def test_a_factor_that_is_held_is_that_of_the_epochs_first_step() -> None:
    schedule = Schedule(kind="linear", start=0, end=1, hold="epoch")
    assert [schedule_factor(schedule, progress, 4) for progress in (0.0, 0.24, 0.25, 0.3, 0.99)] == pytest.approx(
        [0, 0, 0.25, 0.25, 0.75]
    )


def test_a_recorded_factor_is_that_of_its_epoch() -> None:
    schedule = Schedule(kind="recorded", recipe="r", column="eps", values=[0.1, 0.2, 0.4, 0.8])
    assert [schedule_factor(schedule, progress, 4) for progress in (0.0, 0.2, 0.25, 0.6, 0.75, 0.99)] == [
        0.1,
        0.1,
        0.2,
        0.4,
        0.8,
        0.8,
    ]
