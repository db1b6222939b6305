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


@pytest.mark.parametrize(
    ("name", "part", "wrong", "expected"),
    [
        ("yamada2021/attack_order", "pgd", pgd_that_does_not_move, {"Y-14", "lemma 1"}),
        ("yamada2021/attack_order", "worst_losses", scaled(logistic.worst_losses, 0.9), {"Y-14"}),
        ("yamada2021/lemma_1", "worst_losses", scaled(logistic.worst_losses, 1.001), {"worst case"}),
        (
            "yamada2021/lemma_1",
            "logistic_losses",
            scaled(logistic.logistic_losses, -1.0),
            {"eq 7", "lemma 1", "worst case"},
        ),
        ("yamada2021/gradient", "worst_input", flipped(logistic.worst_input), {"eq 8 corrected"}),
        ("yamada2021/theorem_1", "worst_input", flipped(logistic.worst_input), {"eq 9", "eq 10", "fixed attack"}),
        ("yamada2021/theorem_1", "fixed_hessian", scaled(fixed_hessian, 2.0), {"fixed Hessian"}),
        (
            "yamada2021/theorem_1",
            "total_hessian",
            scaled(total_hessian, 2.0),
            {"total Hessian, L2", "total Hessian, Linf"},
        ),
        (
            "yamada2021/theorem_1",
            "weight_hessian",
            scaled(logistic.weight_hessian, 1.01),
            {"eq 9", "eq 10", "total Hessian, L2"},
        ),
        ("yamada2021/theorem_2", "fixed_hessian", scaled(fixed_hessian, 1.01), {"eq 14"}),
        (
            "yamada2021/theorem_2",
            "weight_hessian",
            scaled(logistic.weight_hessian, 1.01),
            {"eq 14", "uniform noise", "Gaussian noise"},
        ),
        ("yamada2021/theorem_2", "_noise", scaled(theorem_2._noise, 1.02), {"noise"}),
    ],
)
def test_a_wrong_formula_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, part: str, wrong: Any, expected: set[str]
) -> None:
    replace_in_check(monkeypatch, name, part, wrong)
    assert expected <= failing_checks(run_check(name))


def test_weights_that_shrink_do_not_flatten() -> None:
    """Theorem 2 (c) needs growing weights; the check sees the difference."""
    assert "theorem 2" in failing_checks(run_check("yamada2021/theorem_2", scales=(100.0, 10.0, 1.0)))
