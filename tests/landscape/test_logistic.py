"""Closed forms of logistic regression under attack, against brute force and autodiff."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel
from robustscape.landscape import logistic as closed

BOUNDS = [None, (0.0, 1.0)]


def problem(samples: int = 12, features: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(features, generator=generator, dtype=torch.float64)
    x = torch.rand(samples, features, generator=generator, dtype=torch.float64)
    x[0, :3] = torch.tensor([0.0, 1.0, 0.0])  # some coordinates start at a wall
    return weight, x, torch.arange(samples) % 2


def worst_loss(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    return closed.losses(weight, closed.worst_case(weight, x, y, threat), y).mean()


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("norm", ["L2", "Linf"])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.4, 5.0])
def test_the_worst_case_is_legal_and_nothing_is_worse(
    norm: str, bounds: tuple[float, float] | None, eps: float
) -> None:
    weight, x, y = problem()
    threat = ThreatModel(norm, eps, bounds)  # type: ignore[arg-type]
    worst = closed.worst_case(weight, x, y, threat)
    threat.check(worst, x)
    found = closed.losses(weight, worst, y)
    # Projected gradient ascent from many starts, on the linear objective, in float64.
    best = closed.losses(weight, x, y)
    for start in range(2):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(start), dtype=torch.float64)
        point = threat.project(x + noise, x)
        for step in range(1000):
            push = -closed.label_signs(y)[:, None] * (weight.sign() if norm == "Linf" else weight / weight.norm())
            point = threat.project(point + push * eps * max(1e-4, 0.3 * 0.98**step), x)
        best = torch.maximum(best, closed.losses(weight, point, y))
    assert (found >= best - 1e-9).all()
    assert torch.allclose(found, best, atol=2e-3), "the bound is not reached"


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_without_walls_it_is_the_textbook_form(norm: str) -> None:
    weight, x, y = problem()
    s = closed.label_signs(y)[:, None]
    eta = -s * 0.3 * (weight / weight.norm() if norm == "L2" else weight.sign())
    worst = closed.worst_case(weight, x, y, ThreatModel(norm, 0.3, None))  # type: ignore[arg-type]
    torch.testing.assert_close(worst, x + eta)


def test_a_weight_that_is_zero_moves_nothing() -> None:
    weight, x, y = problem()
    weight[2] = 0
    for norm in ("L2", "Linf"):
        worst = closed.worst_case(weight, x, y, ThreatModel(norm, 0.3))  # type: ignore[arg-type]
        assert torch.equal(worst[:, 2], x[:, 2])
        assert torch.isfinite(closed.total_hessian(weight, x, y, ThreatModel(norm, 0.3))).all()  # type: ignore[arg-type]


def test_fixed_hessian_is_the_second_derivative_at_fixed_inputs() -> None:
    weight, x, y = problem()
    exact = torch.func.hessian(lambda w: closed.losses(w, x, y).mean())(weight)
    torch.testing.assert_close(closed.fixed_hessian(weight, x, y), exact)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("norm", ["L2", "Linf"])
@pytest.mark.parametrize("eps", [0.1, 0.5, 5.0])
def test_total_hessian_is_the_second_difference_of_the_maximum(
    norm: str, bounds: tuple[float, float] | None, eps: float
) -> None:
    weight, x, y = problem(seed=3)
    threat = ThreatModel(norm, eps, bounds)  # type: ignore[arg-type]
    h = 1e-4
    size = len(weight)
    numeric = torch.empty(size, size, dtype=torch.float64)
    eye = torch.eye(size, dtype=torch.float64) * h
    for i in range(size):
        for j in range(size):
            terms = [
                a * b * worst_loss(weight + a * eye[i] + b * eye[j], x, y, threat) for a in (1, -1) for b in (1, -1)
            ]
            numeric[i, j] = sum(terms) / (4 * h * h)
    exact = closed.total_hessian(weight, x, y, threat)
    torch.testing.assert_close(exact, numeric, rtol=1e-4, atol=1e-5)
    if norm == "L2" and eps < 5:
        attacked = closed.worst_case(weight, x, y, threat)
        assert not torch.allclose(exact, closed.fixed_hessian(weight, attacked, y), atol=1e-3)


def test_total_hessian_is_the_printed_formula() -> None:
    """yamada2021 section 2.5 (T): mean s(m) s(-m) v v' + s(-m) (eps / ||w||) (I - w^ w^'), v = -s x + eps w^."""
    weight, x, y = problem()
    eps, norm = 0.4, weight.norm()
    unit = weight / norm
    expected = torch.zeros(len(weight), len(weight), dtype=torch.float64)
    for sample, sign in zip(x, closed.label_signs(y), strict=True):
        m = sign * weight @ sample - eps * norm
        v = -sign * sample + eps * unit
        expected += m.sigmoid() * (-m).sigmoid() * torch.outer(v, v)
        expected += (-m).sigmoid() * eps / norm * (torch.eye(len(weight)) - torch.outer(unit, unit))
    torch.testing.assert_close(closed.total_hessian(weight, x, y, ThreatModel("L2", eps, None)), expected / len(x))


def test_equation_9_where_the_fixed_hessian_vanishes() -> None:
    """At x = s eps u, w = c u: total has eigenvalues 0 and eps / 2c (d - 1 times), fixed is the zero matrix."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(8, generator=generator, dtype=torch.float64)
    u /= u.norm()
    y = torch.arange(10) % 2
    eps, c = 0.3, 2.5
    x = closed.label_signs(y)[:, None] * eps * u
    threat = ThreatModel("L2", eps, None)
    total = torch.linalg.eigvalsh(closed.total_hessian(c * u, x, y, threat))
    torch.testing.assert_close(total[0], torch.tensor(0.0, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(total[1:], torch.full((7,), eps / (2 * c), dtype=torch.float64))
    fixed = closed.fixed_hessian(c * u, closed.worst_case(c * u, x, y, threat), y)
    assert fixed.abs().max() < 1e-15


def separated(samples: int = 40, features: int = 8) -> tuple[Tensor, Tensor]:
    """Inputs in [0, 1] and labels of two classes that differ in two coordinates; one coordinate is 0 throughout."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(samples, features, generator=generator, dtype=torch.float64)
    y = torch.arange(samples) % 2
    x[:, 0] = (0.3 * x[:, 0] + 0.6 * y).clamp(0, 1)
    x[:, 1] = (0.5 * x[:, 1] + 0.4 * (1 - y)).clamp(0, 1)
    x[:, 2] = 0
    return x, y


def minimum(x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """The weights of least worst-case loss: those of both signs apart, a smooth problem with bounds, by L-BFGS-B."""
    size = x.shape[1]
    s, ones = closed.label_signs(y)[:, None], torch.ones(size, dtype=torch.float64)
    rooms = [-s * sign * (closed.worst_case(sign * ones, x, y, threat) - x) for sign in (1.0, -1.0)]
    margins = torch.cat([s * x - rooms[0], -s * x - rooms[1]], 1).numpy()

    def loss_and_gradient(parts: np.ndarray) -> tuple[float, np.ndarray]:
        m = margins @ parts
        return float(np.logaddexp(0, -m).mean()), -(margins.T @ (1 / (1 + np.exp(m)))) / len(m)

    options = {"ftol": 1e-16, "gtol": 1e-10, "maxiter": 5000}
    found = minimize(
        loss_and_gradient,
        np.zeros(2 * size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * 2 * size,
        options=options,
    )
    return torch.from_numpy(found.x[:size] - found.x[size:])


@pytest.mark.parametrize("bounds", BOUNDS)
def test_one_sided_slopes_are_those_of_the_loss(bounds: tuple[float, float] | None) -> None:
    weight, x, y = problem()
    threat, h = ThreatModel("Linf", 0.3, bounds), 1e-6
    weight[2] = 0
    right, left = closed.one_sided_slopes(weight, x, y, threat)
    for sign, slope in ((1.0, right), (-1.0, left)):
        moved = weight.clone()
        moved[2] += sign * h
        difference = (worst_loss(moved, x, y, threat) - worst_loss(weight, x, y, threat)) / (sign * h)
        assert slope[2].item() == pytest.approx(difference.item(), abs=1e-5)
    assert (right - left)[2] > 1e-3, "there is no kink, so the test sees nothing"


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_gradient_mapping_is_the_gradient_away_from_kinks_and_0_at_the_minimum_alone(
    bounds: tuple[float, float] | None,
) -> None:
    x, y = separated()
    threat = ThreatModel("Linf", 0.3, bounds)

    def gradient(weight: Tensor) -> Tensor:
        leaf = weight.clone().requires_grad_()
        inputs = closed.worst_case(weight, x, y, threat)
        return torch.autograd.grad(closed.losses(leaf, inputs, y).mean(), leaf)[0]

    far = torch.where(torch.arange(8) % 2 == 0, 3.0, -3.0).double()
    torch.testing.assert_close(closed.gradient_mapping(far, x, y, threat), gradient(far))
    best = minimum(x, y, threat)
    zeros = best.abs() < 1e-7
    assert zeros.any() and not zeros.all()
    assert closed.gradient_mapping(best, x, y, threat).norm() < 1e-5
    beside = torch.where(zeros, 1e-4, best)
    assert gradient(beside).norm() > 0.05, "the gradient alone would see it, so the mapping is not needed"
    assert closed.gradient_mapping(beside, x, y, threat).norm() < 1e-3
    assert closed.gradient_mapping(best + 0.1 * torch.eye(8, dtype=torch.float64)[0], x, y, threat).norm() > 1e-3


def test_only_linf_noise_has_kinks() -> None:
    weight, x, y = problem()
    with pytest.raises(ValueError, match="Linf noise only"):
        closed.one_sided_slopes(weight, x, y, ThreatModel("L2", 0.3))
