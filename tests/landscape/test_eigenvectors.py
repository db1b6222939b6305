"""Displacements along the top eigenvector, the surface in its plane, on nets whose exact Hessian is cheap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import hessian
from robustscape.landscape.directions import flatten, parameters_of, unit_random
from robustscape.landscape.eigenvector_surface import eigenvector_surface, fitted_curvature
from robustscape.landscape.hessian import top_directions
from robustscape.landscape.hessian_eigenvalues import hessian_eigenvalues
from robustscape.landscape.lanczos import dense_matrix
from robustscape.landscape.perturbation_similarity import perturbation_cosines, perturbation_similarity
from robustscape.models import build_classifier

Net = tuple[nn.Module, Tensor, Tensor]
AsRun = Callable[..., TrainedRun]


def exact(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    operator = hessian.fixed_operator(model, x, y)
    like = flatten(parameters_of(model))
    return torch.linalg.eigh(dense_matrix(operator, hessian.parameter_count(model), like).double())


def pick(rows: list[dict[str, Any]], metric: str, **where: Any) -> float:
    values = [r["value"] for r in rows if r["metric"] == metric and all(r[k] == v for k, v in where.items())]
    assert len(values) == 1
    return float(values[0])


def test_top_directions_are_the_exact_eigenvectors(conv_net: Net, pgd_linf: AttackSpec) -> None:
    model, x, y = conv_net
    attacked = craft(model, x, y, pgd_linf, 0.1, seed=0)
    _, vectors = exact(model, attacked, y)
    for number, direction in enumerate(top_directions(model, x, y, pgd_linf, 0.1, 2, seed=0), 1):
        v = flatten(direction).double()
        assert v.norm().item() == pytest.approx(1, abs=1e-5)
        assert abs((v @ vectors[:, -number]).item()) > 0.999
        assert v[v.abs().argmax()] > 0


def test_cosines_by_hand_and_of_nothing() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 2.0], [-3.0, -3.0], [1.0, 0.0]])
    values, there = perturbation_cosines(first, second)
    assert values.tolist() == pytest.approx([0.0, -1.0, 0.0])
    assert there.tolist() == [True, True, False]


@pytest.fixture
def similarity(conv_net: Net, pgd_linf: AttackSpec, as_run: AsRun) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = perturbation_similarity(
        as_run(*conv_net, eps=0.1), attack=pgd_linf, distances=[0.0, 0.5, 3.0], directions=2
    )
    return rows


def test_starts_are_independent_and_nothing_moves_at_zero(similarity: list[dict[str, Any]]) -> None:
    at_zero = pick(similarity, "perturbation_cosine", direction="eigenvector", a=0.0)
    assert 0.2 < at_zero < 1 - 1e-6
    for number in range(2):
        assert pick(similarity, "perturbation_cosine", direction="random", a=0.0, draw=number) == at_zero


def test_perturbations_turn_along_the_eigenvector(similarity: list[dict[str, Any]]) -> None:
    far = pick(similarity, "perturbation_cosine", direction="eigenvector", a=3.0)
    near = pick(similarity, "perturbation_cosine", direction="eigenvector", a=0.5)
    start = pick(similarity, "perturbation_cosine", direction="eigenvector", a=0.0)
    assert far < near < start - 0.01
    assert far < start - 0.1


def test_similarity_against_the_definition_written_out(conv_net: Net, pgd_linf: AttackSpec, as_run: AsRun) -> None:
    model, x, y = conv_net
    before = flatten(parameters_of(model)).clone()
    rows = perturbation_similarity(as_run(model, x, y, eps=0.1), attack=pgd_linf, distances=[0.7], seed=3)
    assert torch.equal(flatten(parameters_of(model)), before)
    direction, sides, wrong = unit_random(model, 3, 0), [], []
    for start, sign in enumerate((1.0, -1.0)):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter += sign * 0.7 * direction[name]
        x_adv = craft(model, x, y, pgd_linf, 0.1, seed=6 + start)
        sides.append((x_adv - x).flatten(1))
        wrong.append((model(x_adv).argmax(1) != y).float().mean().item())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter -= sign * 0.7 * direction[name]
    cosine = torch.nn.functional.cosine_similarity(*sides).mean().item()
    assert pick(rows, "perturbation_cosine", direction="random") == pytest.approx(cosine, abs=1e-4)
    assert pick(rows, "robust_test_error", direction="random") == pytest.approx(50 * sum(wrong), abs=1e-3)


def test_zero_perturbations_are_left_out_and_counted(pgd_linf: AttackSpec, as_run: AsRun) -> None:
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        dead[1].weight.zero_()
        dead[1].bias.fill_(-5.0)
    x, y = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    still = AttackSpec(attack="pgd", parameters={"steps": 3, "random_start": False})
    rows = perturbation_similarity(as_run(dead, x, y), attack=still, distances=[0.0, 0.1])
    assert {row["zero_perturbations"] for row in rows} == {100.0}
    assert all(row["value"] != row["value"] for row in rows if row["metric"] == "perturbation_cosine")


def test_fitted_curvature_of_a_quadratic_is_exact() -> None:
    ticks = torch.linspace(-1, 1, 7, dtype=torch.float64)
    alpha, beta = torch.cartesian_prod(ticks, ticks).T
    values = 3 + alpha - 2 * beta + 2 * alpha**2 + beta**2 + alpha * beta
    expected = torch.linalg.eigvalsh(torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64))[-1].item()
    assert fitted_curvature(alpha, beta, values) == pytest.approx(expected)


def test_points_that_determine_no_quadratic_are_refused() -> None:
    """The four points of a grid around 0 without a middle fit many quadratics; five a side fit one."""
    alpha, beta = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2).T
    with pytest.raises(ConfigError, match="4 points of a surface do not determine a quadratic"):
        fitted_curvature(alpha, beta, alpha**2)


@pytest.mark.parametrize(("points", "reason"), [(6, "must be odd, got 6"), (3, "greater than or equal to 5")])
def test_the_grid_of_a_surface_is_refused_before_training(points: int, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        catalog.find_entry("measurement", "eigenvector_surface").parameters(attack="pgd", points=points)


def test_surface_has_the_top_eigenvalue_as_its_curvature(as_run: AsRun, pgd_linf: AttackSpec) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()  # smooth: no kinks between the grid's points
    x, y = torch.rand(30, 1, 4, 4), torch.arange(30) % 3
    rows = eigenvector_surface(as_run(model, x, y, eps=0.0), attack=pgd_linf, points=5, span=0.1)
    values, _ = exact(model, x, y)
    assert pick(rows, "loss_curvature") == pytest.approx(values[-1].item(), rel=0.02)
    losses = [row["value"] for row in rows if row["metric"] == "adversarial_loss"]
    assert len(losses) == 25
    assert pick(rows, "loss_range") == pytest.approx(max(losses) - min(losses))


def test_many_eigenpairs_of_a_channels_last_net(as_run: AsRun, pgd_linf: AttackSpec) -> None:
    """The residuals of 16 and more pairs are computed together, which vmap cannot do in this layout."""
    torch.manual_seed(0)
    model = build_classifier("lenet", {"width": 2}, (1, 8, 8), 3).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    rows = hessian_eigenvalues(as_run(model, x, y), attack=pgd_linf, top=20, max_steps=60)
    values = [row["value"] for row in rows]
    plain = model.to(memory_format=torch.contiguous_format)
    again = [row["value"] for row in hessian_eigenvalues(as_run(plain, x, y), attack=pgd_linf, top=20, max_steps=60)]
    assert values == pytest.approx(again, rel=1e-3, abs=1e-4)
    assert values[0] > 0
