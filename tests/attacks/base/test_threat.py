"""The threat model at its borders: what is legal is legal, and one hundredth more is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import AttackError

DIRECTION = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 5.0]]) / 5  # of L2 norm 1; of Linf norm 0.8 and 1


def moved(norm: Any, length: float) -> torch.Tensor:
    """Points at a distance ``length`` from 0.5."""
    size = DIRECTION.norm(dim=1, keepdim=True) if norm == "L2" else DIRECTION.abs().amax(1, keepdim=True)
    return 0.5 + length * DIRECTION / size


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("eps", [0.2, torch.tensor([0.2, 0.2])], ids=["one eps", "eps per sample"])
def test_the_border_of_the_ball(norm: Any, eps: Any) -> None:
    threat, x = ThreatModel(norm, eps), torch.full((2, 3), 0.5)
    threat.check(moved(norm, 0.2), x)
    with pytest.raises(AttackError, match=f"left the {norm} ball"):
        threat.check(moved(norm, 0.202), x)


def test_an_eps_per_sample_is_that_of_its_sample() -> None:
    threat, x = ThreatModel("Linf", torch.tensor([0.3, 0.1])), torch.full((2, 3), 0.5)
    found = x + torch.tensor([[0.3], [0.1]])
    threat.check(found, x)
    with pytest.raises(AttackError, match="ball"):
        threat.check(found.flip(0), x)


@pytest.mark.parametrize(("value", "legal"), [(0.0, True), (1.0, True), (-0.01, False), (1.01, False)])
def test_the_border_of_the_range(value: float, legal: bool) -> None:
    x = torch.full((1, 2), 0.5)
    found = torch.tensor([[0.5, value]])
    ThreatModel("Linf", 2.0, None).check(found, x)
    if legal:
        ThreatModel("Linf", 2.0).check(found, x)
    else:
        with pytest.raises(AttackError, match="range"):
            ThreatModel("Linf", 2.0).check(found, x)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_projection_is_the_nearest_point_of_the_ball_and_then_of_the_range(norm: Any) -> None:
    x = torch.tensor([[0.5, 0.5, 0.9]])
    inside = x + torch.tensor([[0.05, -0.05, 0.02]])
    torch.testing.assert_close(ThreatModel(norm, 0.2).project(inside, x), inside, rtol=0, atol=1e-7)
    outside = x + torch.tensor([[0.6, 0.0, 0.8]])
    expected = {"Linf": [[0.7, 0.5, 1.0]], "L2": [[0.5 + 0.12, 0.5, 1.0]]}[norm]
    torch.testing.assert_close(ThreatModel(norm, 0.2).project(outside, x), torch.tensor(expected))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_steepest_ascent_has_norm_one_and_the_largest_product(norm: Any) -> None:
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    step = ThreatModel(norm, 1.0).ascent(gradient)
    expected = {"Linf": [[1.0, -1.0, 0.0]], "L2": [[0.6, -0.8, 0.0]]}[norm]
    torch.testing.assert_close(step, torch.tensor(expected))
