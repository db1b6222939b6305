"""The checks of yamada2021 hold, and fail when a formula is replaced by a wrong one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from theory_checks import Rows, failing_checks, replace_in_check, run_check
from torch import Tensor

from robustscape import catalog
from robustscape.landscape.logistic import fixed_hessian, total_hessian
from robustscape.theory import logistic
from robustscape.theory.rows import check_row
from robustscape.theory.yamada2021 import gradient, theorem_2

CHECKS = [
    "yamada2021/attack_order",
    "yamada2021/gradient",
    "yamada2021/lemma_1",
    "yamada2021/theorem_1",
    "yamada2021/theorem_2",
]


def test_the_catalog_finds_every_check() -> None:
    assert set(CHECKS) <= set(catalog.catalog_entries("theory"))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CHECKS)
def test_every_row_holds(name: str, seed: int) -> None:
    rows = run_check(name, seed=seed)
    assert rows
    assert failing_checks(rows) == set()
    assert all(entry["seed"] == seed for entry in rows)
    assert all(isinstance(entry["value"], int | float) and math.isfinite(entry["value"]) for entry in rows)


@pytest.mark.parametrize("name", CHECKS)
def test_same_seed_same_rows(name: str) -> None:
    assert run_check(name, seed=5) == run_check(name, seed=5)
    assert run_check(name, seed=5) != run_check(name, seed=6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("yamada2021/attack_order", {"dimension": 2, "samples": 1, "eps": 4.0}),
        ("yamada2021/attack_order", {"dimension": 784, "samples": 32, "eps": 0.1}),
        ("yamada2021/gradient", {"dimension": 2, "samples": 3, "eps": 3.0}),
        ("yamada2021/lemma_1", {"dimension": 2, "samples": 1, "eps": 0.01, "angles": 3}),
        ("yamada2021/lemma_1", {"dimension": 100, "eps": 10.0}),
        ("yamada2021/theorem_1", {"dimension": 2, "samples": 1, "eps_values": (3.0, 0.01), "weight_norm": 0.1}),
        ("yamada2021/theorem_1", {"dimension": 40, "weight_norm": 10.0}),
        ("yamada2021/theorem_2", {"dimension": 2, "samples": 2, "eps": 2.0, "margins": (-1.0, 6.0), "draws": 1000}),
    ],
)
def test_every_row_holds_with_other_parameters(name: str, parameters: dict[str, Any]) -> None:
    assert failing_checks(run_check(name, **parameters)) == set()


# -- numbers worked out by hand ----------------------------------------------------------------------------------------------


def values(rows: Rows, check: str, quantity: str) -> list[float]:
    found = [entry["value"] for entry in rows if (entry["check"], entry["quantity"]) == (check, quantity)]
    assert found, "no such row"
    return found


def test_theorem_1_in_numbers() -> None:
    """The largest eigenvalue is eps / (2 ||w||), d - 1 times, and there is one rise per step of eps."""
    rows = run_check("yamada2021/theorem_1", dimension=7, eps_values=(0.5, 1.0, 2.0), weight_norm=4.0)
    assert values(rows, "eq 10", "largest eigenvalue") == pytest.approx([0.0625, 0.125, 0.25], abs=1e-12)
    assert values(rows, "eq 10", "multiplicity of eps/(2||w||)") == [6, 6, 6]
    rises = values(rows, "eq 12", "rise of the largest eigenvalue with eps")
    assert rises == pytest.approx([0.0625, 0.125], abs=1e-12)


def test_theorem_2_in_numbers() -> None:
    """At margin 0, kappa = 1: every eigenvalue rises by a quarter of the noise's variance."""
    rows = run_check("yamada2021/theorem_2", eps=0.6, margins=(0.0,))
    assert values(rows, "uniform noise", "smallest rise of an eigenvalue") == pytest.approx([0.25 * 0.12], abs=1e-12)
    assert values(rows, "Gaussian noise", "largest rise of an eigenvalue") == pytest.approx([0.25 * 0.36], abs=1e-12)
    tops = values(rows, "theorem 2", "largest eigenvalue at c w")
    assert tops[-1] < 1e-9 < 1e-2 < tops[0]


def test_closed_forms_by_hand() -> None:
    """w = (3, 4): ||w||_2 = 5, ||w||_1 = 7; x = (1, 1), y = -1, eps = 0.1: exponents 7 + 0.5 and 7 + 0.7."""
    w, x, y = torch.tensor([3.0, 4.0]), torch.tensor([[1.0, 1.0]]), torch.tensor([-1.0])
    assert logistic.worst_input(w, x, y, 0.1, "L2").tolist() == [pytest.approx([1.06, 1.08])]
    assert logistic.worst_input(w, x, y, 0.1, "Linf").tolist() == [pytest.approx([1.1, 1.1])]
    for norm, exponent in (("L2", 7.5), ("Linf", 7.7)):
        assert logistic.worst_losses(w, x, y, 0.1, norm).item() == pytest.approx(math.log1p(math.exp(exponent)))


def test_the_printed_gradient_is_off_by_its_factor() -> None:
    """One sample: eq 8 as printed over eq 8 corrected is exp(-y w.x + eps ||w||)."""
    x, y, w = logistic.random_problem(3, 1, 0)
    corrected, printed = gradient._equation_8(w, x, y, 0.5)
    assert torch.allclose(printed / corrected, torch.exp(-y * (x @ w) + 0.5 * w.norm()).expand(3))


# -- the column `holds` -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "relation", "expected", "tolerance", "holds", "error"),
    [
        (1.0, "==", 1.0, 0.0, True, 0.0),
        (1.5, "==", 1.0, 0.5, True, 0.5),
        (1.6, "==", 1.0, 0.5, False, 0.6),
        (0.4, "==", 1.0, 0.5, False, 0.6),
        (1.0, "!=", 1.0, 0.0, False, 0.0),
        (1.2, "!=", 1.0, 0.1, True, 0.2),
        (1.0, ">=", 1.0, 0.0, True, 0.0),
        (0.9, ">=", 1.0, 0.2, True, 0.1),
        (0.7, ">=", 1.0, 0.2, False, 0.3),
        (9.0, ">=", 1.0, 0.0, True, 0.0),
        (1.0, ">", 1.0, 0.0, False, 0.0),
        (1.1, ">", 1.0, 0.0, True, 0.0),
        (9.0, "<=", 1.0, 0.2, False, 8.0),
        (1.1, "<=", 1.0, 0.2, True, 0.1),
        (-9.0, "<=", 1.0, 0.0, True, 0.0),
        *((math.nan, relation, 1.0, 0.5, False, None) for relation in ("==", "!=", ">=", ">", "<=")),
    ],
)
def test_holds_and_error_follow_from_the_relation(
    value: float, relation: Any, expected: float, tolerance: float, holds: bool, error: float | None
) -> None:
    entry = check_row("check", "quantity", value, relation, expected, tolerance=tolerance, eps=0.5)
    assert entry["holds"] is holds
    assert error is None or entry["error"] == pytest.approx(error)
    assert (entry["check"], entry["quantity"], entry["tolerance"], entry["eps"]) == (
        "check",
        "quantity",
        tolerance,
        0.5,
    )


def pgd_that_does_not_move(model: Any, x: Tensor, y: Tensor, threat: Any, generator: Any, **_: Any) -> Tensor:
    return x


def flipped(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The attack with its perturbation negated."""
    return lambda w, x, y, eps, norm: 2 * x - function(w, x, y, eps, norm)


def scaled(function: Callable[..., Tensor], factor: float) -> Callable[..., Tensor]:
    return lambda *arguments: factor * function(*arguments)


def along_another_direction(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """An attack that moves with the weights and maximises nothing."""
    return x - eps * y[:, None] * logistic.unit_vector(w.roll(1))


def at_the_inverse_eps(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: Any) -> Tensor:
    return logistic.worst_input(w, x, y, 0.1 / eps, norm)


def not_optimal(dimension: int, samples: int, eps: float, weight_norm: float, seed: int) -> logistic.Problem:
    return logistic.random_problem(dimension, samples, seed)


def without_its_slack(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The Hessian of a quadratic: it has no factor that vanishes as the weights grow."""
    return x.T @ x / len(x)


def shifted_noise(x: Tensor, eps: float, seed: int) -> Tensor:
    return ORIGINAL_NOISE(x, eps, seed) + 0.02


def corrected_twice(function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """An equation whose printed form is no misprint."""
    return lambda *arguments: (function(*arguments)[0],) * 2


ORIGINAL_NOISE = theorem_2._noise
AUTODIFF, DIFFERENCES = "largest |formula - autodiff|", "largest |H - differences|"
ON_RANDOM_DATA, SMALLEST_RISE = "largest |formula - autodiff| on random data", "smallest rise of an eigenvalue"
LARGEST_RISE = "largest rise of an eigenvalue"

#: Check, part replaced, by what, the rows (check, quantity, relation) that must not hold then.
WRONG_PARTS: list[tuple[str, str, Any, set[tuple[str, str, str]]]] = [
    (
        "attack_order",
        "pgd",
        pgd_that_does_not_move,
        {
            ("Y-14", "smallest PGD - random loss", ">="),
            ("lemma 1", "smallest share of the closed form that PGD reaches", ">="),
        },
    ),
    (
        "attack_order",
        "worst_losses",
        scaled(logistic.worst_losses, 0.9),
        {("Y-14", "smallest closed form - PGD loss", ">=")},
    ),
    (
        "lemma_1",
        "logistic_losses",
        scaled(logistic.logistic_losses, -1.0),
        {
            ("eq 7", "largest |loss - formula|", "=="),
            ("lemma 1", "smallest slope of y loss along cos t", ">"),
            ("lemma 1", "smallest y cos t of a worst case", "=="),
            ("worst case", "largest |closed form - grid|", "=="),
        },
    ),
    (
        "lemma_1",
        "worst_losses",
        scaled(logistic.worst_losses, 1.001),
        {("worst case", "largest |closed form - grid|", "==")},
    ),
    ("gradient", "worst_input", flipped(logistic.worst_input), {("eq 8 corrected", AUTODIFF, "==")}),
    ("gradient", "worst_input", along_another_direction, {("Danskin", "largest |fixed - moving attack|", "==")}),
    ("gradient", "_equation_8", corrected_twice(gradient._equation_8), {("eq 8 printed", AUTODIFF, "!=")}),
    (
        "gradient",
        "optimal_problem",
        not_optimal,
        {("eq 8 printed", "largest |gradient| at the optimum", "==")},
    ),
    (
        "theorem_1",
        "worst_input",
        flipped(logistic.worst_input),
        {
            ("eq 9", "largest |H - autodiff|", "=="),
            ("eq 9", DIFFERENCES, "=="),
            ("eq 10", "largest eigenvalue", "=="),
            ("eq 10", "multiplicity of eps/(2||w||)", "=="),
            ("eq 11", "|H w|", "=="),
            ("theorem 1", "smallest eigenvalue", ">="),
            ("fixed attack", "largest |H| at the optimum", "=="),
            ("eq 12", "spread of largest eigenvalue / eps", "=="),
        },
    ),
    (
        "theorem_1",
        "worst_input",
        at_the_inverse_eps,
        {("eq 12", "rise of the largest eigenvalue with eps", ">")},
    ),
    ("theorem_1", "fixed_hessian", scaled(fixed_hessian, 2.0), {("fixed Hessian", ON_RANDOM_DATA, "==")}),
    (
        "theorem_1",
        "total_hessian",
        scaled(total_hessian, 1.001),
        {("total Hessian, L2", ON_RANDOM_DATA, "=="), ("total Hessian, Linf", ON_RANDOM_DATA, "==")},
    ),
    (
        "theorem_1",
        "weight_hessian",
        scaled(logistic.weight_hessian, 1.01),
        {
            ("eq 9", "largest |H - autodiff|", "=="),
            ("eq 10", "largest eigenvalue", "=="),
            ("total Hessian, L2", ON_RANDOM_DATA, "=="),
        },
    ),
    (
        "theorem_2",
        "logistic_losses",
        scaled(logistic.logistic_losses, 1.001),
        {("eq 13 corrected", AUTODIFF, "=="), ("eq 14", AUTODIFF, "==")},
    ),
    ("theorem_2", "_equation_13", corrected_twice(theorem_2._equation_13), {("eq 13 printed", AUTODIFF, "!=")}),
    ("theorem_2", "fixed_hessian", scaled(fixed_hessian, 1.01), {("eq 14", AUTODIFF, "==")}),
    (
        "theorem_2",
        "fixed_hessian",
        without_its_slack,
        {
            ("theorem 2", "largest eigenvalue at c w", "<="),
            ("theorem 2", "fall of the largest eigenvalue with c", ">"),
        },
    ),
    (
        "theorem_2",
        "fixed_hessian",
        scaled(fixed_hessian, 0.1),
        {("theorem 2", "largest eigenvalue at c w", ">=")},
    ),
    ("theorem_2", "_noise", shifted_noise, {("noise", "largest |E eta|", "==")}),
    ("theorem_2", "_noise", scaled(ORIGINAL_NOISE, 1.02), {("noise", "largest |E eta eta^T - eps^2/3 I|", "==")}),
    (
        "theorem_2",
        "weight_hessian",
        scaled(logistic.weight_hessian, 1.001),
        {
            (noise, quantity, "==")
            for noise in ("uniform noise", "Gaussian noise")
            for quantity in (AUTODIFF, SMALLEST_RISE, LARGEST_RISE)
        },
    ),
]


def row_names(rows: Rows) -> set[tuple[str, str, str]]:
    return {(row["check"], row["quantity"], row["relation"]) for row in rows}


@pytest.mark.parametrize(("check", "part", "wrong", "expected"), WRONG_PARTS)
def test_a_wrong_part_is_noticed(
    monkeypatch: pytest.MonkeyPatch, check: str, part: str, wrong: Any, expected: set[tuple[str, str, str]]
) -> None:
    replace_in_check(monkeypatch, f"yamada2021/{check}", part, wrong)
    rows = run_check(f"yamada2021/{check}")
    assert expected <= row_names([row for row in rows if not row["holds"]])


@pytest.mark.parametrize("name", CHECKS)
def test_every_row_of_a_check_falls_under_one_of_the_wrong_parts(name: str) -> None:
    fallen = [expected for check, _, _, expected in WRONG_PARTS if f"yamada2021/{check}" == name]
    assert row_names(run_check(name)) == set().union(*fallen)


def test_weights_that_shrink_do_not_flatten() -> None:
    """Theorem 2 (c) needs growing weights; the check sees the difference."""
    assert "theorem 2" in failing_checks(run_check("yamada2021/theorem_2", scales=(100.0, 10.0, 1.0)))
