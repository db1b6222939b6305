"""A step of an attack: the projection of the general formula, in fewer passes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel

EPS: list[Any] = [0.1, torch.tensor([0.0, 0.05, 0.3, 0.8])]
LENGTHS: list[Any] = [0.2, -0.05, torch.tensor([0.01, 0.1, 0.5, 0.0])]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, points around them, some outside of ball and range, and gradients, one of them zero: (4, 1, 5, 5) each."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 1, 5, 5, generator=generator).round(decimals=1)  # some at 0 and 1
    gradient = torch.randn(x.shape, generator=generator)
    gradient[1], gradient[:, 0, 0, 0] = 0, 0
    return x, x + 0.3 * torch.randn(x.shape, generator=generator), gradient


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(("eps", "length", "bounds"), itertools.product(EPS, LENGTHS, [(0.0, 1.0), None]))
def test_a_step_is_the_projection_of_a_step_of_ascent(
    batch: tuple[Tensor, Tensor, Tensor], norm: Any, eps: Any, length: Any, bounds: Any
) -> None:
    x, point, gradient = batch
    threat, before = ThreatModel(norm, eps, bounds), point.clone()
    pace = length.view(-1, 1, 1, 1) if isinstance(length, Tensor) else length
    expected = threat.project(point + pace * threat.ascent(gradient), x)
    stepped = threat.around(x).step(point, gradient.clone(), pace)
    torch.testing.assert_close(stepped, expected, rtol=0, atol=0 if norm == "Linf" else 1e-6)
    threat.check(stepped, x)
    assert torch.equal(point, before), "a model may have kept the point it was asked about"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_gradient_that_is_one_number_expanded_can_be_stepped_along(norm: Any) -> None:
    x = torch.full((3, 8), 0.5)
    gradient = torch.ones(1, 1).expand(3, 8)
    stepped = ThreatModel(norm, 0.1).around(x).step(x, gradient, 0.05)
    assert torch.equal(gradient, torch.ones(3, 8))
    torch.testing.assert_close(stepped, x + (0.05 if norm == "Linf" else 0.05 / 8**0.5))
