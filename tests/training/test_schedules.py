"""Schedules at their ends and corners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch.optim import lr_scheduler

from robustscape.config.recipes import Recipe, Schedule
from robustscape.training.schedules import schedule_factor

Rest = Callable[[torch.optim.Optimizer, int], lr_scheduler.LRScheduler]


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
        (Schedule(warmup=0.2), 0.1, 0.5),
        (Schedule(kind="linear", start=0.5, warmup=0.2), 0.1, 0.25),
        (Schedule(kind="linear", warmup=0.2), 0.6, 0.5),
        (Schedule(kind="multistep", milestones=[0.5], gamma=0.1, warmup=0.2), 0.59, 1.0),
        (Schedule(kind="multistep", milestones=[0.5], gamma=0.1, warmup=0.2), 0.61, 0.1),
    ],
)
def test_factor(schedule: Schedule, progress: float, expected: float) -> None:
    assert schedule_factor(schedule, progress) == pytest.approx(expected)


def test_a_factor_that_is_held_is_that_of_the_epochs_first_step() -> None:
    schedule = Schedule(kind="linear", start=0, end=1, hold="epoch")
    assert [schedule_factor(schedule, progress, 4) for progress in (0.0, 0.24, 0.25, 0.3, 0.99)] == pytest.approx(
        [0, 0, 0.25, 0.25, 0.75]
    )


@pytest.mark.parametrize(("epochs", "steps"), [(10, 18), (10, 1), (3, 7), (7, 10)])
@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("cosine", lambda optimizer, total: lr_scheduler.CosineAnnealingLR(optimizer, total)),
        ("linear", lambda optimizer, total: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total)),
        ("constant", lambda optimizer, total: lr_scheduler.ConstantLR(optimizer, 1.0)),
    ],
)
def test_a_warm_up_is_that_of_torch(kind: Literal["cosine", "linear"], rest: Rest, epochs: int, steps: int) -> None:
    """Of one epoch: ``LinearLR`` from 1 / (w + 1), then the schedule over what is left."""
    total, warm = epochs * steps, steps
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    rising = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    oracle = lr_scheduler.SequentialLR(optimizer, [rising, rest(optimizer, total - warm)], milestones=[warm])
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    schedule = Schedule(kind=kind, warmup=1 / epochs)
    found = [0.01 * schedule_factor(schedule, k / total, epochs, 1 / total) for k in range(total)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[0] == pytest.approx(0.01 / (warm + 1)) and found[warm] == pytest.approx(0.01)


def test_only_the_learning_rate_has_a_warm_up() -> None:
    plain = {"method": "standard", "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}}, "epochs": 2}
    with pytest.raises(ValueError, match="warmup belongs to lr_schedule"):
        Recipe.model_validate({**plain, "eps_schedule": {"warmup": 0.5}})


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
