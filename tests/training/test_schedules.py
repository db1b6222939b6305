"""Schedules at their ends and corners."""

from __future__ import annotations

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
    ],
)
def test_factor(schedule: Schedule, progress: float, expected: float) -> None:
    assert schedule_factor(schedule, progress) == pytest.approx(expected)
