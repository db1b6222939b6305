"""The attacks in L1 on a linear model, whose nearest boundary a linear programme finds, with a range and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from robustscape.attacks.apgd_l1 import _iterations, apgd_l1
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import misclassified, predict
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fab import fab
from robustscape.attacks.square_l1 import square_l1

SAMPLES, INPUTS, CLASSES = 12, 30, 4
BOUNDS = [(0.0, 1.0), None]


@pytest.fixture(scope="module")
def linear() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(INPUTS, CLASSES).double().requires_grad_(False)
    x = torch.rand(SAMPLES, INPUTS).double()
    x[:, :8] = x[:, :8].round()  # some coordinates can move one way only
    return model, x, model(x).argmax(1)


def nearest_boundary(model: nn.Linear, x: Tensor, y: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """The L1 norm of the smallest change that reaches another class, (N,)."""
    weight, bias, found = model.weight.numpy(), model.bias.numpy(), []
    for point, label in zip(x.numpy(), y.tolist(), strict=True):
        distances = []
        for other in set(range(CLASSES)) - {label}:
            normal = weight[other] - weight[label]
            gap = -(normal @ point + bias[other] - bias[label])
            room = [(0, None)] * 2 * INPUTS
            if bounds:
                room = [*((0, bounds[1] - p) for p in point), *((0, p - bounds[0]) for p in point)]
            solved = linprog(np.ones(2 * INPUTS), A_ub=[[*-normal, *normal]], b_ub=[-gap], bounds=room)
            distances.append(solved.fun if solved.success else np.inf)
        found.append(min(distances))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize(
    ("attack", "parameters", "reach", "least"),
    [
        (fab, {"iterations": 40}, 1.01, 1.0),
        # Which boundary is nearest FAB judges by the distance without a range, so in one it may be another.
        (fab, {"iterations": 40, "each_class": False}, 1.3, 1.0),
        (apgd_l1, {"loss": "dlr_targeted", "iterations": 60}, 1.1, 0.9),
        (square_l1, {"queries": 300}, 4.0, 0.9),
    ],
)
def test_a_linear_model_is_broken_beyond_its_nearest_boundary_and_never_before(
    linear: tuple[nn.Linear, Tensor, Tensor],
    bounds: Any,
    attack: Any,
    parameters: dict[str, Any],
    reach: float,
    least: float,
) -> None:
    model, x, y = linear
    distance = nearest_boundary(model, x, y, bounds)
    if bounds is None:  # the closed form: gap over the largest slope
        slopes = model.weight[None] - model.weight[y][:, None]
        gaps = model(x).gather(1, y[:, None]) - model(x)
        closed = (gaps / slopes.abs().amax(2)).scatter(1, y[:, None], torch.inf).amin(1)
        torch.testing.assert_close(distance, closed)
    shares = []
    for factor in (0.99, reach):
        threat = ThreatModel("L1", distance * factor, bounds)
        found = attack(model, x, y, threat, SampleGenerator.seeded(0, SAMPLES), **parameters)
        threat.check(found, x)
        shares.append(misclassified(predict(model, found), y).double().mean().item())
    assert shares[0] == 0 and shares[1] >= least


def test_apgd_changes_few_coordinates(linear: tuple[nn.Linear, Tensor, Tensor]) -> None:
    """Its sparsity adapts: of a linear model the best points change as many coordinates as the budget fills."""
    model, x, y = linear
    found = apgd_l1(model, x, y, ThreatModel("L1", 1.0), SampleGenerator.seeded(0, SAMPLES), early_stopping=False)
    assert ((found - x).abs() > 1e-9).sum(1).double().mean() < INPUTS / 4


def test_iterations_are_spent_as_the_authors_do() -> None:
    assert _iterations(100) == [30, 30, 40]
    assert all(sum(_iterations(total)) == total and min(_iterations(total)) >= 1 for total in range(3, 120))
