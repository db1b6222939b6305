"""Curvature: products, eigenvalues, spectrum and trace against dense linear algebra, formulas and other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from curvlinops import HessianLinearOperator
from torch import Tensor, nn
from torch.func import functional_call

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape import hessian
from robustscape.landscape import hessian_eigenvalues as eigenvalues_module
from robustscape.landscape import logistic as closed
from robustscape.landscape.directions import flatten, parameters_of, unflatten
from robustscape.landscape.hessian_density import hessian_density
from robustscape.landscape.hessian_eigenvalues import hessian_eigenvalues
from robustscape.landscape.hessian_trace import hessian_trace
from robustscape.landscape.lanczos import (
    dense_eigenpairs,
    dense_matrix,
    hutchinson,
    lanczos_quadrature,
    random_sign_vectors,
    spectral_density,
    top_eigenpairs,
)
from robustscape.landscape.mean_loss import mean_loss_gradient
from robustscape.models import build_classifier

Case = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture
def tiny_net() -> Case:
    """A smooth net of 67 parameters in float64: exact second derivatives are cheap."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Softplus(), nn.Linear(5, 3)).double().eval()
    x = torch.rand(20, 1, 3, 3, dtype=torch.float64)
    return model, x, torch.arange(20) % 3


def exact_hessian(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    like = parameters_of(model)

    def loss(vector: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, unflatten(vector, like), (x,)), y)

    return torch.func.hessian(loss)(flatten(like))


def matrix_operator(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda vectors: vectors @ matrix


# -- products ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_bytes", [0, 30_000, 2**30])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_products_are_those_of_the_exact_hessian(tiny_net: Case, kept_bytes: int, count: int) -> None:
    model, x, y = tiny_net
    operator = hessian.fixed_operator(model, x, y, batch_size=6, kept_bytes=kept_bytes)
    vectors = torch.randn(
        count, hessian.parameter_count(model), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(operator(vectors), vectors @ exact_hessian(model, x, y))
    torch.testing.assert_close(
        operator(vectors), vectors @ exact_hessian(model, x, y)
    )  # and once more: graphs are kept


def test_products_agree_with_curvlinops(small_net: Case) -> None:
    model, x, y = small_net
    batches = list(zip(x.split(10), y.split(10), strict=True))
    theirs = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), batches, check_deterministic=False, num_data=len(x)
    )
    vector = torch.randn(hessian.parameter_count(model), generator=torch.Generator().manual_seed(1))
    ours = hessian.fixed_operator(model, x, y)(vector[None])[0]
    torch.testing.assert_close(ours, theirs @ vector, rtol=1e-3, atol=1e-4 * ours.abs().max().item())


def test_fixed_convention_is_the_formula_for_logistic_regression(logistic: Case, pgd_l2: AttackSpec) -> None:
    model, x, y = logistic
    operator, how = hessian.adversarial_operator(model, x, y, pgd_l2, 0.5, convention="fixed", seed=0)
    x_adv = craft(model, x, y, pgd_l2, 0.5, seed=0)
    weight = flatten(parameters_of(model))
    expected = closed.fixed_hessian(weight, x_adv.flatten(1), y).float()
    torch.testing.assert_close(dense_matrix(operator, 16, weight), expected, rtol=1e-4, atol=1e-6)
    assert how == {"convention": "fixed", "derivative": "double backward", "difference_step": None}


def test_total_convention_for_logistic_regression(logistic: Case, pgd_l2: AttackSpec) -> None:
    model, x, y = logistic
    weight = flatten(parameters_of(model))
    exact, how = hessian.adversarial_operator(model, x, y, pgd_l2, 0.5, convention="total", seed=0)
    assert how["derivative"] == "closed form" and how["worst_case_reached"] == pytest.approx(1, abs=1e-3)
    # The same net, wrapped so that it is not recognised: central differences of the attacked gradient.
    generic, how = hessian.adversarial_operator(
        nn.Sequential(model).eval(), x, y, pgd_l2, 0.5, convention="total", seed=0, step=1e-2
    )
    assert how == {
        "convention": "total",
        "derivative": "central difference",
        "worst_case_reached": None,
        "difference_step": 1e-2,
    }
    exact_matrix, generic_matrix = dense_matrix(exact, 16, weight), dense_matrix(generic, 16, weight)
    fixed_matrix = dense_matrix(
        hessian.adversarial_operator(model, x, y, pgd_l2, 0.5, convention="fixed", seed=0)[0], 16, weight
    )
    scale = exact_matrix.abs().max().item()
    assert (generic_matrix - exact_matrix).abs().max() < 0.02 * scale
    assert (fixed_matrix - exact_matrix).abs().max() > 0.05 * scale


def test_noise_does_not_respond_to_the_weights(logistic: Case, noise: AttackSpec) -> None:
    model, x, y = logistic
    like = flatten(parameters_of(model))
    total, how = hessian.adversarial_operator(model, x, y, noise, 0.3, convention="total", seed=0)
    fixed, _ = hessian.adversarial_operator(model, x, y, noise, 0.3, convention="fixed", seed=0)
    assert how["derivative"] == "central difference"
    expected = dense_matrix(fixed, 16, like)
    torch.testing.assert_close(dense_matrix(total, 16, like), expected, rtol=0, atol=2e-3 * expected.abs().max().item())


def test_equation_9_through_the_operators() -> None:
    """yamada2021 equation 9: eigenvalue eps / 2c, d - 1 times, in convention T; nothing in convention F."""
    u = torch.nn.functional.normalize(torch.randn(12, generator=torch.Generator().manual_seed(0)), dim=0)
    y = torch.arange(10) % 2
    eps, c = 0.3, 2.5
    x = ((2.0 * y - 1)[:, None] * eps * u).view(10, 1, 3, 4)
    model = build_classifier("logistic_regression", {}, (1, 3, 4), 2).eval()
    with torch.no_grad():
        model.net.linear.weight.copy_(c * u)
    spec = AttackSpec(attack="pgd", norm="L2", bounds=None, parameters={"steps": 100, "rel_step_size": 0.15})
    like = flatten(parameters_of(model))
    total, _ = hessian.adversarial_operator(model, x, y, spec, eps, convention="total", seed=0)
    values = torch.linalg.eigvalsh(dense_matrix(total, 12, like))
    torch.testing.assert_close(values[1:], torch.full((11,), eps / (2 * c)), rtol=1e-5, atol=0)
    assert values[0].abs() < 1e-6
    fixed, _ = hessian.adversarial_operator(model, x, y, spec, eps, convention="fixed", seed=0)
    assert dense_matrix(fixed, 12, like).abs().max() < 1e-6
    # Lanczos meets an invariant subspace of dimension 2 here, and must go on to find the multiplicity.
    pairs = top_eigenpairs(total, 12, 3, like)
    torch.testing.assert_close(pairs.values, torch.full((3,), eps / (2 * c), dtype=torch.float64), rtol=1e-4, atol=0)


def test_the_gradient_of_the_whole_is_that_of_its_batches(small_net: Case) -> None:
    model, x, y = small_net
    whole = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))
    expected = torch.cat([part.flatten() for part in whole])
    torch.testing.assert_close(flatten(mean_loss_gradient(model, x, y, batch_size=7)), expected, rtol=1e-3, atol=1e-5)


def test_train_mode_is_refused(small_net: Case) -> None:
    model, x, y = small_net
    model.train()
    with pytest.raises(ValueError, match="eval mode"):
        hessian.fixed_operator(model, x, y)


# -- eigenvalues -------------------------------------------------------------------------------------------------------


def random_symmetric(size: int, seed: int = 0) -> Tensor:
    matrix = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("which", ["value", "magnitude"])
@pytest.mark.parametrize("size", [3, 40, 300])
def test_lanczos_finds_the_top_of_the_spectrum(which: str, size: int) -> None:
    matrix = random_symmetric(size) - 3 * torch.eye(size, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(matrix)
    order = (values if which == "value" else values.abs()).argsort(descending=True)[:3]
    pairs = top_eigenpairs(matrix_operator(matrix), size, 3, matrix, which=which, tolerance=1e-6)  # type: ignore[arg-type]
    torch.testing.assert_close(pairs.values, values[order], rtol=1e-8, atol=1e-8)
    assert pairs.converged.all() and (pairs.residuals < 1e-6).all()
    for vector, expected in zip(pairs.vectors, vectors.T[order], strict=True):
        assert abs(vector @ expected) == pytest.approx(1, abs=1e-8)
    assert pairs.products <= size + 3


def test_lanczos_finds_multiple_eigenvalues_and_no_ghosts() -> None:
    diagonal = torch.tensor([5.0, 5.0, 5.0, 4.0, *[0.0] * 60], dtype=torch.float64)
    pairs = top_eigenpairs(matrix_operator(diagonal.diag()), 64, 4, diagonal)
    torch.testing.assert_close(pairs.values, diagonal[:4])
    # A dominant eigenvalue converges within a few steps; without reorthogonalisation it would come back as a copy.
    spread = torch.cat([torch.tensor([1e4]), torch.linspace(0, 1, 199)])
    pairs = top_eigenpairs(matrix_operator(spread.diag()), 200, 3, spread, tolerance=1e-7, max_steps=200)
    torch.testing.assert_close(pairs.values, spread.double().sort(descending=True).values[:3], rtol=1e-5, atol=1e-2)


def test_a_pair_that_has_not_converged_says_so() -> None:
    matrix = random_symmetric(300)
    pairs = top_eigenpairs(matrix_operator(matrix), 300, 3, matrix, tolerance=1e-9, max_steps=8)
    assert not pairs.converged.any()
    rest = pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors
    torch.testing.assert_close(pairs.residuals * pairs_scale(matrix, 8), rest.norm(dim=1), rtol=0.2, atol=0)


def pairs_scale(matrix: Tensor, steps: int) -> float:
    """Largest magnitude that so few steps see."""
    nodes, _ = lanczos_quadrature(matrix_operator(matrix), len(matrix), steps, 1, matrix)
    return nodes.abs().max().item()


def test_lanczos_dense_and_scipy_agree_on_a_net(conv_net: Case) -> None:
    model, x, y = conv_net
    operator = hessian.fixed_operator(model, x, y)
    size, like = hessian.parameter_count(model), flatten(parameters_of(model))
    pairs = top_eigenpairs(operator, size, 3, like, tolerance=1e-4)
    full = dense_eigenpairs(operator, size, 3, like)
    product = lambda v: operator(torch.from_numpy(v.astype(np.float32)).view(1, -1))[0].numpy()  # noqa: E731
    scipys = scipy.sparse.linalg.eigsh(
        scipy.sparse.linalg.LinearOperator((size, size), matvec=product, dtype=np.float32), k=3, which="LA", tol=1e-5
    )[0][::-1]
    assert pairs.converged.all() and full.converged.all()
    assert pairs.values.tolist() == pytest.approx(full.values.tolist(), rel=1e-3)
    assert pairs.values.tolist() == pytest.approx(scipys.tolist(), rel=1e-3)


#: Spectra on which a single recursion gives wrong values and calls them converged -> their three largest.
SPECTRA: dict[str, tuple[list[float], list[float]]] = {
    "a double eigenvalue": ([10.0, 10.0, 9.0, 8.0], [10.0, 10.0, 9.0]),
    "values far below the largest": ([1000.0, 1.0, 0.9], [1000.0, 1.0, 0.9]),
    "two large eigenspaces": ([7.0] * 9 + [3.0] * 9, [7.0, 7.0, 7.0]),
    "a negative one": ([-1000.0, 6.0, 5.5], [6.0, 5.5, 0.5]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_top_of_the_spectrum_is_scipys(name: str, dtype: torch.dtype) -> None:
    first, expected = SPECTRA[name]
    bulk = torch.rand(1499, generator=torch.Generator().manual_seed(0)).double() * 0.5
    diagonal = torch.cat([torch.tensor(first).double(), bulk, torch.tensor([0.5]).double()]).to(dtype)
    pairs = top_eigenpairs(lambda rows: rows * diagonal, len(diagonal), 3, diagonal)
    assert pairs.converged.all()
    assert pairs.values.tolist() == pytest.approx(expected, rel=1e-3)
    if name != "two large eigenspaces":  # whose multiplicity ARPACK may miss too
        operator = scipy.sparse.linalg.LinearOperator(
            (len(diagonal),) * 2, matvec=lambda v: diagonal.double().numpy() * v.ravel(), dtype=np.float64
        )
        scipys = scipy.sparse.linalg.eigsh(operator, k=3, which="LA", return_eigenvectors=False)
        assert pairs.values.tolist() == pytest.approx(np.sort(scipys)[::-1].tolist(), rel=1e-3)


def test_every_eigenvector_of_a_multiple_eigenvalue_is_found() -> None:
    """Softmax regression at zero weights: each curvature is there C - 1 times."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10)).eval()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    x, y = torch.rand(200, 1, 4, 4), torch.arange(200) % 10
    operator, like = hessian.fixed_operator(model, x, y), flatten(parameters_of(model))
    pairs = top_eigenpairs(operator, len(like), 12, like)
    exact = dense_eigenpairs(operator, len(like), 12, like)
    assert pairs.converged.all()
    assert pairs.values.tolist() == pytest.approx(exact.values.tolist(), rel=1e-3)
    assert exact.values[0].item() == pytest.approx(exact.values[8].item(), rel=1e-4)
    gram = pairs.vectors @ pairs.vectors.T
    torch.testing.assert_close(gram, torch.eye(12), rtol=0, atol=1e-4)


class Half(nn.Module):
    """A net with a layer that its forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.used = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.used(x.flatten(1))
        return logits


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_unused_parameters_have_no_curvature(kept_bytes: int) -> None:
    torch.manual_seed(0)
    model, x, y = Half().eval(), torch.rand(20, 1, 4, 4), torch.arange(20) % 3
    operator = hessian.fixed_operator(model, x, y, kept_bytes=kept_bytes)
    used = hessian.fixed_operator(nn.Sequential(nn.Flatten(), model.used).eval(), x, y)
    size = 51
    for count in (1, 20):  # one by one, and together
        vectors = torch.rand(count, 2 * size)
        found = operator(vectors)
        assert not found[:, :size].any()
        torch.testing.assert_close(found[:, size:], used(vectors[:, size:]))
    assert not mean_loss_gradient(model, x, y, batch_size=7)["unused.weight"].any()


# -- spectrum and trace ------------------------------------------------------------------------------------------------


def test_quadrature_has_the_moments_of_its_probes() -> None:
    size, steps, draws = 60, 10, 4
    matrix = random_symmetric(size)
    nodes, weights = lanczos_quadrature(matrix_operator(matrix), size, steps, draws, matrix, seed=2)
    vectors = random_sign_vectors(size, draws, 2, matrix)
    assert nodes.shape == weights.shape == (draws, steps)
    power = vectors
    for degree in range(2 * steps):  # Gauss quadrature of m nodes is exact up to degree 2m - 1
        moment = (vectors * power).sum(1)
        tolerance = 1e-9 * matrix.norm(2).item() ** degree
        torch.testing.assert_close((weights * nodes**degree).sum(1), moment, rtol=1e-7, atol=tolerance)
        power = power @ matrix


def test_the_trace_from_quadrature_hutchinson_and_the_matrix() -> None:
    size = 50
    matrix = random_symmetric(size) + 2 * torch.eye(size, dtype=torch.float64)
    operator = matrix_operator(matrix)
    nodes, weights = lanczos_quadrature(operator, size, 5, 200, matrix)
    estimates = hutchinson(operator, size, 200, matrix)
    torch.testing.assert_close(size * (weights * nodes).sum(1), estimates)  # the same random_sign_vectors, draw by draw
    error = estimates.std() / 200**0.5
    assert abs(estimates.mean() - matrix.trace()) < 4 * error
    diagonal = matrix.diag().diag()
    torch.testing.assert_close(hutchinson(matrix_operator(diagonal), size, 2, matrix), matrix.trace().expand(2))


def test_the_density_is_the_spectrum() -> None:
    diagonal = torch.cat([torch.full((75,), 1.0), torch.full((25,), 3.0)]).double()
    nodes, weights = lanczos_quadrature(matrix_operator(diagonal.diag()), 100, 8, 5, diagonal)
    grid = torch.linspace(-1, 5, 2001, dtype=torch.float64)
    values = spectral_density(nodes, weights, grid, 0.05)
    step = (grid[1] - grid[0]).item()
    assert values.sum().item() * step == pytest.approx(1, abs=1e-6)
    assert values[grid < 2].sum().item() * step == pytest.approx(0.75, abs=1e-6)  # signs see a diagonal exactly


# -- measurements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["fixed", "total"])
def test_rows_of_eigenvalues(logistic: Case, pgd_l2: AttackSpec, as_run: Callable[..., Any], convention: str) -> None:
    model, x, y = logistic
    run = as_run(model, x, y, eps=0.4)
    rows = hessian_eigenvalues(run, attack=pgd_l2, top=3, convention=convention)  # type: ignore[arg-type]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    weight = flatten(parameters_of(model))
    if convention == "fixed":
        matrix = closed.fixed_hessian(weight, craft(model, x, y, pgd_l2, 0.4, seed=0).flatten(1), y)
    else:
        from robustscape.attacks.base.threat import ThreatModel

        matrix = closed.total_hessian(weight, x.flatten(1), y, ThreatModel("L2", 0.4, None))
    expected = torch.linalg.eigvalsh(matrix).flip(0)[:3].tolist()
    assert [row["value"] for row in rows] == pytest.approx(expected, rel=1e-4)
    for row in rows:
        assert row["solver"] == "dense" and row["converged"] and row["convention"] == convention
        assert row["attack_eps"] == 0.4 and row["samples"] == 60 and row["unit"] == "1"


def test_eigenvalues_of_a_net_come_from_lanczos(
    conv_net: Case, pgd_linf: AttackSpec, as_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eigenvalues_module, "DENSE", 100)
    model, x, y = conv_net
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = as_run(model, x, y)
    rows = hessian_eigenvalues(run, attack=pgd_linf, top=2)
    assert all(row["solver"] == "lanczos" and row["converged"] for row in rows)
    x_adv = craft(model, x, y, pgd_linf, 0.1, seed=0)
    exact = torch.linalg.eigvalsh(exact_hessian(model, x_adv, y).double()).flip(0)[:2]
    assert [row["value"] for row in rows] == pytest.approx(exact.tolist(), rel=1e-3)
    assert rows == hessian_eigenvalues(run, attack=pgd_linf, top=2)  # deterministic
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_total_hessian_of_a_net_sees_the_attack_respond(
    conv_net: Case, pgd_linf: AttackSpec, as_run: Callable[..., Any]
) -> None:
    model, x, y = conv_net
    run = as_run(model, x, y)
    rows = hessian_eigenvalues(run, attack=pgd_linf, top=1, convention="total", max_steps=6)
    assert rows[0]["derivative"] == "central difference" and np.isfinite(rows[0]["value"])
    clean = hessian_eigenvalues(run, attack=pgd_linf, eps=0.0, top=1, convention="total")
    assert clean[0]["derivative"] == "double backward"  # at eps 0 the conventions are the same


def test_rows_of_density_and_trace(conv_net: Case, pgd_linf: AttackSpec, as_run: Callable[..., Any]) -> None:
    model, x, y = conv_net
    run = as_run(model, x, y)
    rows = hessian_density(run, attack=pgd_linf, draws=2, steps=12, points=101)
    grid = torch.tensor([row["eigenvalue"] for row in rows])
    values = torch.tensor([row["value"] for row in rows])
    assert torch.trapezoid(values, grid).item() == pytest.approx(1, abs=0.02)
    (row,) = hessian_trace(run, attack=pgd_linf, draws=24)
    x_adv = craft(model, x, y, pgd_linf, 0.1, seed=0)
    exact = exact_hessian(model, x_adv, y).trace().item()
    assert row["value"] == pytest.approx(exact, abs=4 * row["standard_error"])
    assert row["standard_error"] < abs(exact)


def test_an_attack_that_has_not_converged_is_not_called_the_worst_case(logistic: Case) -> None:
    """The closed form is then the Hessian of another loss than that under the attack, and the columns say so."""
    model, x, y = logistic
    short = AttackSpec(attack="pgd", norm="L2", parameters={"steps": 2, "rel_step_size": 0.1, "random_start": False})
    _, how = hessian.adversarial_operator(model, x, y, short, 0.5, convention="total", seed=0)
    assert how["derivative"] == "closed form of the worst case" and 0.1 < how["worst_case_reached"] < 0.4
