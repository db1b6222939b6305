"""Small nets, data and runs to measure; everything seeded, on the CPU, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import Classifier, build_classifier


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pgd_l2() -> AttackSpec:
    return AttackSpec(attack="pgd", norm="L2", bounds=None, parameters={"steps": 40, "rel_step_size": 0.15})


@pytest.fixture
def pgd_linf() -> AttackSpec:
    return AttackSpec(attack="pgd", norm="Linf", parameters={"steps": 5, "rel_step_size": 0.3})


@pytest.fixture
def noise() -> AttackSpec:
    return AttackSpec(attack="random_noise", norm="Linf")


def _two_classes(samples: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] of two overlapping classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 2
    centre = torch.rand(2, 1, side, side, generator=generator)
    noise = 0.4 * torch.randn(samples, 1, side, side, generator=generator)
    return (centre[y] + noise).clamp(0, 1), y


@pytest.fixture
def logistic() -> tuple[Classifier, Tensor, Tensor]:
    """A fitted logistic regression on 60 images of 4x4 pixels."""
    torch.manual_seed(0)
    model = build_classifier("logistic_regression", {}, (1, 4, 4), 2)
    x, y = _two_classes(60, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval(), x, y


@pytest.fixture
def small_net() -> tuple[Classifier, Tensor, Tensor]:
    """A residual net with batch normalisation, its statistics filled, on 24 images of 8x8 pixels."""
    torch.manual_seed(1)
    model = build_classifier("preactresnet18", {"width": 1}, (1, 8, 8), 3, (0.4,), (0.3,))
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    y = torch.arange(24) % 3
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval(), x, y


@pytest.fixture
def conv_net() -> tuple[nn.Module, Tensor, Tensor]:
    """A convolution with batch normalisation and a linear layer, 121 parameters: its exact Hessian is cheap."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    model = nn.Sequential(*layers)
    x, y = _two_classes(24, 4)
    y = torch.where(torch.arange(24) < 6, 2, y)
    for _ in range(5):
        model(x)  # running statistics
    return model.eval(), x, y


@pytest.fixture
def as_run() -> Callable[..., TrainedRun]:
    """A run around a model and float data."""

    def make(model: nn.Module, x: Tensor, y: Tensor, eps: float = 0.1) -> TrainedRun:
        split = Split(x, y, 1.0)
        fields: dict[str, Any] = {"path": Path("nowhere"), "config": {}, "checkpoint": ""}
        return TrainedRun(model, split, split, eps, 0, torch.device("cpu"), int(y.max()) + 1, **fields)

    return make
