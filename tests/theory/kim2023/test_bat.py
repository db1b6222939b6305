"""The checks of kim2023, chapters 2 and 3, hold, and fail when a formula is replaced by a wrong one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from theory_checks import failing_checks, replace_in_check, run_check
from torch import Tensor

from robustscape import catalog
from robustscape.evaluation.harness.distorted import distorted
from robustscape.evaluation.nonlinearity import loss_nonlinearity
from robustscape.theory.kim2023 import checkpoints, smoothness_gradient, theorem_3_3, theorem_3_4
from robustscape.training.methods.single_step_checkpoints import shortest_misclassified_step

CHECKS = [
    "kim2023/smoothness_gradient",
    "kim2023/theorem_3_3",
    "kim2023/theorem_3_4",
    "kim2023/nested_attacks",
    "kim2023/checkpoints",
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CHECKS)
def test_every_row_holds(name: str, seed: int) -> None:
    rows = run_check(name, seed=seed)
    assert len(rows) >= 5 and failing_checks(rows) == set()
    assert all(entry["seed"] == seed and math.isfinite(entry["value"]) for entry in rows)


@pytest.mark.parametrize("name", CHECKS)
def test_same_seed_same_rows(name: str) -> None:
    small = {"draws": 10} if "draws" in catalog.find_entry("theory", name).parameters.model_fields else {"samples": 40}
    assert run_check(name, seed=5, **small) == run_check(name, seed=5, **small)


def test_theorem_3_4_by_hand() -> None:
    """KL((1/2, 1/2) || (9/10, 1/10)) + its reverse, and the chain (0.9, 0.6, 0.5)."""
    p = torch.tensor([[0.5, 0.9, 0.5]], dtype=torch.float64)
    there = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    back = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert theorem_3_4.chain_excess(torch.stack([p, 1 - p], 2)).item() == pytest.approx(there + back)
    falling = torch.tensor([[0.9, 0.6, 0.5]], dtype=torch.float64)
    assert theorem_3_4.chain_excess(torch.stack([falling, 1 - falling], 2)).item() < 0


def test_a_wrong_sign_in_proposition_3_2_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = smoothness_gradient._jacobian
    replace_in_check(monkeypatch, "kim2023/smoothness_gradient", "_jacobian", lambda w, x: 1.01 * original(w, x))
    assert {"proposition 3.1", "proposition 3.2", "eq 3.19"} <= failing_checks(
        run_check("kim2023/smoothness_gradient", draws=3)
    )


DISTORTED, NONLINEARITY, SHORTEST = distorted, loss_nonlinearity, shortest_misclassified_step
PSI_INVERSE, BRIDGED, SURROGATE = theorem_3_3._psi_inverse, theorem_3_3.bridged_term, theorem_3_3._surrogate_loss

MUTATIONS: list[tuple[str, str, Callable[..., Any], set[str]]] = [
    # check, part of its module, what replaces it, the statements that fall
    (
        "nested_attacks",
        "strongest_points",
        lambda net, clean, aim, x, start, *_: (start, aim(net(start), clean)),
        {"eq 3.18"},
    ),
    ("nested_attacks", "strongest_points", lambda net, clean, aim, x, *_: (x, aim(net(x), clean)), {"eq 3.18"}),
    ("nested_attacks", "kl_pgd", lambda net, x, *_, **__: x, {"eq 3.18"}),
    ("nested_attacks", "input_gradient", lambda net, x, *_: (None, None, torch.ones_like(x)), {"eq 3.18"}),
    ("theorem_3_3", "_opposite_sign_points", lambda f, radius: random_places(f), {"eq 3.20", "eq 3.21"}),
    ("theorem_3_3", "_opposite_sign_points", lambda f, radius: torch.arange(len(f)), {"eq 3.20", "eq 3.21"}),
    ("theorem_3_3", "_near_decision_boundary", lambda f, radius: random_mask(f), {"eq 3.21"}),
    ("theorem_3_3", "_near_decision_boundary", lambda f, radius: torch.ones(len(f), dtype=torch.bool), {"eq 3.21"}),
    ("theorem_3_3", "_robust_error", lambda f, eta, radius: torch.where(f > 0, 1 - eta, eta), {"eq 3.20"}),
    ("theorem_3_3", "_robust_error", lambda f, eta, radius: torch.ones_like(f), {"eq 3.20", "eq 3.22"}),
    ("theorem_3_3", "_count_violations_of_3_23", lambda m: strict_violations(m), {"eq 3.23"}),
    ("theorem_3_4", "chain_excess", lambda chain: chain[:, 0, 0] - chain[:, -1, 0], {"theorem 3.4"}),
    ("theorem_3_4", "chain_excess", lambda chain: torch.zeros(len(chain)), {"theorem 3.4"}),
    ("theorem_3_3", "_psi_inverse", lambda name, value: 2 * PSI_INVERSE(name, value), {"theorem 3.3"}),
    ("theorem_3_3", "_psi_inverse", lambda name, value: PSI_INVERSE("hinge", value), {"theorem 3.3"}),
    ("theorem_3_3", "_psi_inverse", lambda name, value: PSI_INVERSE(name, value) + 1, {"theorem 3.3"}),
    ("theorem_3_3", "bridged_term", lambda name, f, path, beta: BRIDGED(name, f, path, 1.0), {"theorem 3.3"}),
    ("theorem_3_3", "bridged_term", lambda name, f, path, beta: 2 * BRIDGED(name, f, path, beta), {"theorem 3.3"}),
    (
        "theorem_3_3",
        "bridged_term",
        lambda name, f, path, beta: BRIDGED(name, f, path[:1].repeat(2, 1), beta),
        {"theorem 3.3"},
    ),
    ("theorem_3_3", "bridged_term", lambda name, f, path, beta: BRIDGED(name, f, path[[0, -1]], beta), {"theorem 3.3"}),
    ("theorem_3_3", "_least_conditional_risk", lambda name, eta: 0 * eta, {"theorem 3.3"}),
    ("theorem_3_3", "_surrogate_loss", lambda name, z: 1 + SURROGATE(name, z), {"theorem 3.3"}),
    ("checkpoints", "distorted", lambda *a: (DISTORTED(*a)[0] & False, DISTORTED(*a)[1]), {"eq 2.5"}),
    ("checkpoints", "distorted", lambda *a: (DISTORTED(*a)[0], ~DISTORTED(*a)[0]), {"eq 2.5"}),
    ("checkpoints", "distorted", lambda net, x, y, *a: (DISTORTED(net, x, y, *a)[0], y >= 0), {"eq 2.5"}),
    ("checkpoints", "distorted", lambda net, x, y, *a: DISTORTED(net, x, net(x).argmax(1), *a), {"eq 2.5"}),
    ("checkpoints", "distorted", lambda net, x, y, eps, k: DISTORTED(net, x, y, 2 * eps, k), {"eq 2.5"}),
    ("checkpoints", "loss_nonlinearity", lambda *a: NONLINEARITY(*a).abs(), {"eq 2.10"}),
    ("checkpoints", "loss_nonlinearity", lambda *a: NONLINEARITY(*a).clamp_min(0), {"eq 2.10"}),
    ("checkpoints", "loss_nonlinearity", lambda *a: 2 * NONLINEARITY(*a), {"eq 2.10"}),
    ("checkpoints", "loss_nonlinearity", lambda *a: 0 * NONLINEARITY(*a), {"eq 2.10"}),
    ("checkpoints", "loss_nonlinearity", lambda *a: NONLINEARITY(*a[:3], a[3] / 2, *a[4:]), {"eq 2.10"}),
    ("checkpoints", "distorted", lambda net, x, y, *_: (random_mask(y), random_mask(y)), {"eq 2.5"}),
    ("checkpoints", "distorted", lambda net, x, y, *_: (torch.zeros(len(y), dtype=bool),) * 2, {"eq 2.5"}),
    ("checkpoints", "loss_nonlinearity", lambda net, x, y, *_: y - 1.0, {"eq 2.6", "eq 2.10"}),
    ("checkpoints", "shortest_misclassified_step", lambda net, x, *_: (x, torch.zeros(len(x))), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda net, x, *_: (x, torch.full((len(x),), 0.4)), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda net, x, *_: (x + 1, torch.ones(len(x))), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda *a: longest_step(*a), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda *a: SHORTEST(*a[:6], -a[6]), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda *a: SHORTEST(*a[:6], 0.5), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda *a: (a[2], SHORTEST(*a)[1]), {"algorithm 1"}),
    ("checkpoints", "shortest_misclassified_step", lambda *a: SHORTEST(*a[:2], a[1], *a[3:]), {"algorithm 1"}),
    (
        "checkpoints",
        "shortest_misclassified_step",
        lambda *a: (SHORTEST(*a)[0], SHORTEST(*a)[1].clamp_min(0.01)),
        {"algorithm 1"},
    ),
    ("checkpoints", "shortest_misclassified_step", lambda *a: SHORTEST(*a[:5], 1, a[6]), {"algorithm 1"}),
]


def longest_step(
    model: Any, x: Tensor, start: Tensor, y: Tensor, threat: Any, c: int, size: float
) -> tuple[Tensor, Tensor]:
    """The last checkpoint that is misclassified instead of the first; the end where there is none."""
    end = x + checkpoints._single_step(model, x, start, y, threat.eps)
    steps = torch.ones(len(x), dtype=x.dtype)
    for j in range(c):
        wrong = model(torch.lerp(x, end, j / c) if j else start).argmax(1) != y
        steps[wrong] = j / c
    return torch.lerp(x, end, steps[:, None]), steps


def random_places(f: Tensor) -> Tensor:
    return torch.randperm(len(f), generator=torch.Generator().manual_seed(3))


def random_mask(values: Tensor) -> Tensor:
    return torch.rand(len(values), generator=torch.Generator().manual_seed(3)) < 0.5


def strict_violations(m: int) -> int:
    """Equation 3.23 with < in its sum: it fails where f = 0 on the path."""
    return sum(
        (pattern[0] * pattern[-1] < 0) > sum(a * b < 0 for a, b in itertools.pairwise(pattern))
        for pattern in itertools.product((-1, 0, 1), repeat=m + 1)
    )


@pytest.mark.parametrize(("check", "part", "replacement", "fall"), MUTATIONS)
def test_a_check_falls_with_what_it_checks(
    monkeypatch: pytest.MonkeyPatch, check: str, part: str, replacement: Callable[..., Any], fall: set[str]
) -> None:
    """Each statement is checked on the thing itself: with something wrong, or nothing, in its place, it fails."""
    replace_in_check(monkeypatch, f"kim2023/{check}", part, replacement)
    rows = run_check(f"kim2023/{check}")
    assert fall <= failing_checks(rows)


def test_the_bridged_term_by_hand() -> None:
    """Hinge loss, f = (-2, 1, 1), a path over all three: phi(-2 beta) + phi(beta) = 1 + 2 beta + max(0, 1 - beta)."""
    f, path = torch.tensor([-2.0, 1.0, 1.0], dtype=torch.float64), torch.tensor([[0], [1], [2]])
    for beta in (0.5, 1.0, 5.0):
        assert theorem_3_3.bridged_term("hinge", f, path, beta).item() == 1 + 2 * beta + max(0.0, 1 - beta)


def test_the_robust_error_by_hand() -> None:
    """f = (-1, 2, 3), radius 1: the ball of the last point has one sign, those of the others both."""
    f, eta = torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([0.1, 0.8, 0.7])
    torch.testing.assert_close(theorem_3_3._robust_error(f, eta, 1), torch.tensor([1.0, 1.0, 0.3]))
    assert theorem_3_3._near_decision_boundary(f, 1).tolist() == [True, True, False]


@pytest.mark.parametrize("change", ["excess", "bridges"])
def test_theorem_3_3_needs_both_of_its_terms(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    if change == "excess":
        monkeypatch.setattr(theorem_3_3, "_psi_inverse", lambda name, value: 0.0)
    else:
        original = theorem_3_3._surrogate_loss
        monkeypatch.setattr(
            theorem_3_3, "_surrogate_loss", lambda name, z: original(name, z) * (0 if z.dim() == 2 else 1)
        )
    assert "theorem 3.3" in failing_checks(run_check("kim2023/theorem_3_3", draws=60))


@pytest.mark.parametrize(
    ("part", "replacement"),
    [
        ("_psi_inverse", lambda name, value: 0.0),
        ("_excess_risk", lambda name, f, eta, weight: 0.0),
        ("_opposite_sign_points", lambda f, radius: torch.arange(len(f))),
    ],
)
def test_equation_3_22_needs_both_of_its_terms_for_either_loss(
    monkeypatch: pytest.MonkeyPatch, part: str, replacement: Callable[..., Any]
) -> None:
    """Without the excess risk of the surrogate loss, or without the points near the boundary, it is false."""

    def verdicts() -> dict[str, bool]:
        rows = run_check("kim2023/theorem_3_3", draws=60, bridges=[1], betas=[1.0])
        return {row["phi"]: row["holds"] for row in rows if row["check"] == "eq 3.22"}

    assert verdicts() == {"hinge": True, "logistic": True}
    replace_in_check(monkeypatch, "kim2023/theorem_3_3", part, replacement)
    assert verdicts() == {"hinge": False, "logistic": False}


def test_equation_3_22_is_met_by_a_step_with_certain_labels() -> None:
    """With the hinge loss: a bound that is too large would be noticed."""
    rows = run_check("kim2023/theorem_3_3", draws=60, bridges=[1], betas=[1.0])
    slack = {row["phi"]: row["value"] for row in rows if row["check"] == "eq 3.22"}
    assert abs(slack["hinge"]) < 1e-9 < slack["logistic"]


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_theorem_3_3_in_numbers(beta: float) -> None:
    """Its right side on a line of three points, worked out by hand for the hinge loss; beta is in every product.

    f = (1, 1, -0.5) with labels of the signs of f, weights 1/3: all three points are in a ball with the other sign but the
    first. R_rob = 2/3, R*_nat = 0, R_phi - R*_phi = (0 + 0 + 0.5) / 3 for the hinge loss.
    """
    f = torch.tensor([1.0, 1.0, -0.5], dtype=torch.float64)
    star = theorem_3_3._opposite_sign_points(f, 1)
    assert star.tolist() == [0, 2, 1]
    path = torch.stack([theorem_3_3._path_points(k, 1, star) for k in range(2)])
    terms = theorem_3_3._surrogate_loss("hinge", beta * f[path[:-1]] * f[path[1:]]).sum(0)
    by_hand = [max(0.0, 1 - beta), 1 + 0.5 * beta, 1 + 0.5 * beta]
    assert terms.tolist() == pytest.approx(by_hand)


def test_the_slack_of_theorem_3_3_depends_on_beta() -> None:
    """A small beta makes every product small, and the sum over the bridges large."""
    slacks = []
    for beta in (0.1, 0.5, 5.0):
        rows = run_check("kim2023/theorem_3_3", draws=60, betas=[beta], bridges=[2])
        slacks.append(sum(row["value"] for row in rows if row["check"] == "theorem 3.3"))
    assert slacks[0] > slacks[1] > slacks[2]


def test_psi_inverse_inverts_psi() -> None:
    for t in (0.1, 0.5, 0.9):
        psi = 1 - theorem_3_3._binary_entropy(torch.tensor((1 + t) / 2, dtype=torch.float64)).item()
        assert theorem_3_3._psi_inverse("logistic", psi) == pytest.approx(t, abs=1e-9)
    assert theorem_3_3._psi_inverse("hinge", 0.3) == 0.3
    assert theorem_3_3._psi_inverse("logistic", 2.0) == 2.0


def test_the_printed_form_of_3_23_with_strict_signs_fails_at_zeros() -> None:
    """With f = 0 on the path the sum needs <=; the check covers these patterns."""
    assert theorem_3_3._count_violations_of_3_23(2) == 0
    assert theorem_3_3._count_violations_of_3_23(1, signs=(-1, 1)) == 0
