"""The nearest point of an L1 ball cut to a box: a linear programme certifies that none is nearer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.l1 import l1_norm, project_on_l1_ball
from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import AttackError

BOX = (0.0, 1.0)


def inputs(seed: int, count: int, dimension: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres in the box, some coordinates on its edges, and points that may be anywhere; in fp64."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, dimension, generator=generator, dtype=torch.float64)
    centre = torch.where(torch.rand(centre.shape, generator=generator) < 0.3, centre.round(), centre)
    moved = torch.randn(count, dimension, generator=generator, dtype=torch.float64) * spread
    return centre, centre + torch.where(torch.rand(centre.shape, generator=generator) < 0.2, 0.0, moved)


def highest_product(direction: np.ndarray, centre: np.ndarray, eps: float, bounds: tuple[float, float] | None) -> float:
    """max <direction, z - centre> over the ball cut to the box, with z - centre = rise - fall."""
    low, high = bounds or (-np.inf, np.inf)
    limits = [*((0, high - c) for c in centre), *((0, c - low) for c in centre)]
    cost = np.concatenate([-direction, direction])
    return -linprog(cost, A_ub=np.ones((1, len(cost))), b_ub=[eps], bounds=limits).fun


@pytest.mark.parametrize("bounds", [BOX, (-1.0, 2.0), None])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("eps", [0.05, 1.0, 4.0])
def test_the_projection_is_the_nearest_point(bounds: Any, spread: float, eps: float) -> None:
    """p is the projection of v on a convex set exactly if <v - p, z - p> <= 0 for every z of the set."""
    centre, point = inputs(int(10 * spread), 6, 9, spread)
    found = project_on_l1_ball(point, centre, eps, bounds)
    assert (found - centre).abs().sum(1).max() <= eps * (1 + 1e-12)
    for p, v, c in zip(found.numpy(), point.numpy(), centre.numpy(), strict=True):
        rest = v - p
        assert highest_product(rest, c, eps, bounds) <= rest @ (p - c) + 1e-9 * (1 + spread)


def test_the_projection_stays_in_ball_and_box_and_leaves_legal_points_alone() -> None:
    for dimension in (1, 2, 50, 3072):
        centre, point = (t.float() for t in inputs(dimension, 5, dimension, 2.0))
        for eps in (0.0, 0.3, 12.0):
            found = project_on_l1_ball(point, centre, eps, BOX)
            assert found.min() >= 0 and found.max() <= 1
            assert (found - centre).abs().sum(1).max() <= eps + 1e-6 * (1 + eps)
            assert torch.allclose(project_on_l1_ball(found, centre, eps, BOX), found, atol=1e-6)
    inside = centre + 1e-4 * (0.5 - centre)
    assert torch.equal(project_on_l1_ball(inside, centre, 12.0, BOX), inside)
    assert torch.equal(project_on_l1_ball(point, centre, float("inf"), BOX), point.clamp(0, 1))


def test_each_sample_has_its_own_radius_and_no_company() -> None:
    centre, point = (t.float().view(6, 1, 4, 5) for t in inputs(0, 6, 20, 1.0))
    eps = torch.tensor([0.0, 0.1, 0.5, 1.0, 3.0, 100.0])
    found = ThreatModel("L1", eps).project(point, centre)
    for row in range(6):
        alone = ThreatModel("L1", eps[row].item()).project(point[row : row + 1], centre[row : row + 1])
        assert torch.equal(found[row : row + 1], alone)
    assert torch.equal(found[0], centre[0])


def test_noise_on_a_large_image_passes_the_check_of_the_ball() -> None:
    """150,528 coordinates, each moved by little: rounding adds up, and must not be taken for a fault of the attack."""
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    for eps in (0.1, 12.0, 255.0):
        for scale in (1e-4, 1.0):
            threat = ThreatModel("L1", eps)
            threat.check(threat.project(x + scale * noise, x), x)


def test_norms_and_starts() -> None:
    x = torch.tensor([[[0.5, -0.25], [0.0, 1.0]]])
    assert l1_norm(x).shape == (1, 1, 1) and l1_norm(x).item() == 1.75
    threat = ThreatModel("L1", 1.0)
    assert threat.distance(x, torch.zeros_like(x)).tolist() == [1.75]
    assert l1_norm(threat.random_direction(x, SampleGenerator.seeded(0, 1))).item() == pytest.approx(1.0)


def test_what_has_no_meaning_in_l1_is_refused() -> None:
    x, threat = torch.rand(2, 3), ThreatModel("L1", 1.0)
    for refused in (
        lambda: threat.ascent(x),
        lambda: threat.around(x),
        lambda: threat.random_offset(x, SampleGenerator.seeded(0, 2)),
    ):
        with pytest.raises(AttackError, match="not defined in L1; use 'fab' or one whose name ends in '_l1'"):
            refused()
