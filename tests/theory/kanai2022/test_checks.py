"""The checks of kanai2022 hold, fail when a formula is replaced by a wrong one, and give known numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from theory_checks import Rows, failing_checks, replace_in_check, run_check

from robustscape.errors import ConfigError
from robustscape.theory.kanai2022 import (
    _lipschitz,
    _local_entropy,
    _two_weight_losses,
    movement,
    theorem_3,
)

#: Check -> parameters that make it fast.
CHECKS: dict[str, dict[str, Any]] = {
    "kanai2022/closed_form": {"samples": 50},
    "kanai2022/lemma_1": {"draws": 2000},
    "kanai2022/lemma_2": {"draws": 2000},
    "kanai2022/lemma_3": {},
    "kanai2022/lemma_4": {"draws": 200},
    "kanai2022/lemma_5": {"draws": 30},
    "kanai2022/theorem_3": {"gammas": (1.0,), "draws": 400},
    "kanai2022/smoothing": {"gammas": (1.0,)},
    "kanai2022/swish_attack": {"points": 31},
}


@pytest.mark.parametrize("name", CHECKS)
def test_every_row_holds(name: str) -> None:
    rows = run_check(name, **CHECKS[name])
    assert rows and failing_checks(rows) == set()
    assert all(isinstance(row["value"], int | float) and math.isfinite(row["value"]) for row in rows)


@pytest.mark.parametrize("name", [name for name in CHECKS if name.split("/")[1].startswith(("closed_form", "lemma"))])
def test_every_row_holds_with_other_parameters(name: str) -> None:
    changes = {"seed": 4} | ({"eps": 1.5} if name != "kanai2022/lemma_4" else {"curvatures": (0.5, 0.05)})
    assert failing_checks(run_check(name, **CHECKS[name] | changes)) == set()


# -- known numbers of the surfaces ------------------------------------------------------------------------------------------

#: (attack, gamma) -> largest second difference at h = 0.025 on [-3, 3]^2, x = (1, 0.5), y = +1, eps = 0.3.
MEASURED = {
    ("none", None): 0.250,
    ("L2", None): 12.3,
    ("Linf", None): 23.5,
    ("none", 1.0): 0.164,
    ("L2", 1.0): 0.245,
    ("Linf", 1.0): 0.268,
    ("none", 3.0): 0.210,
    ("L2", 3.0): 0.376,
    ("Linf", 3.0): 0.424,
}


def bends(rows: Rows, nodes: str = "on") -> dict[float, float]:
    return {
        r["grid_step"]: r["value"] for r in rows if r["metric"] == "largest_second_difference" and r["nodes"] == nodes
    }


@pytest.mark.parametrize(("attack", "gamma"), MEASURED)
def test_largest_second_differences(attack: str, gamma: float | None) -> None:
    found = bends(run_check("kanai2022/surface", attack=attack, gamma=gamma, points=3, steps=(0.025,)))[0.025]
    assert found == pytest.approx(MEASURED[attack, gamma], rel=5e-3)


@pytest.mark.parametrize(("attack", "expected"), [("L2", (16.3, 32.3, 64.3)), ("Linf", (29.4, 58.8, 117))])
def test_second_differences_at_a_kink_double_under_refinement(attack: str, expected: tuple[float, ...]) -> None:
    """n = 321, 641 and 1281 nodes a side; the L2 value is set by the node at 0, the Linf value by where along an axis it is."""
    steps = (6 / 320, 6 / 640, 6 / 1280)
    found = bends(run_check("kanai2022/surface", attack=attack, points=3, steps=steps))
    assert [found[step] for step in steps] == pytest.approx(expected, rel=0.075)


def test_data_labelled_by_the_first_feature() -> None:
    steps = (0.05, 0.025, 0.0125)
    for attack, raw, smooth in (("L2", (6.3, 12.3, 24.3), 0.2475), ("Linf", (11.8, 23.5, 47.1), 0.268)):
        rows = run_check("kanai2022/surface", data="first_feature", attack=attack, points=3, steps=steps)
        assert [bends(rows)[step] for step in steps] == pytest.approx(raw, rel=6e-3)
        assert next(r["value"] for r in rows if r["metric"] == "best_theta_2") == 0.0
        assert next(r["value"] for r in rows if r["metric"] == "best_theta_1") == 3.0
        rows = run_check("kanai2022/surface", data="first_feature", attack=attack, gamma=1.0, points=3, steps=steps)
        assert list(bends(rows).values()) == pytest.approx([smooth] * 3, rel=2e-3)
        assert list(bends(rows, "beside").values()) == pytest.approx([smooth] * 3, rel=5e-3)
        assert abs(next(r["value"] for r in rows if r["metric"] == "best_theta_2")) <= 0.05


def test_where_the_gradient_jumps() -> None:
    """Under Linf on both axes, under L2 at the origin only."""

    def across(attack: str) -> dict[tuple[int, float], float]:
        rows = run_check("kanai2022/surface", data="first_feature", attack=attack, points=3, steps=(0.02, 0.01))
        return {(r["weight"], r["grid_step"]): r["value"] for r in rows if r["metric"] == "second_difference_across"}

    linf, l2 = across("Linf"), across("L2")
    for weight in (1, 2):
        assert linf[weight, 0.01] > 1.8 * linf[weight, 0.02] > 10
        assert l2[weight, 0.01] < 1.05 * l2[weight, 0.02] < 1


def test_the_minimum_of_the_swish_model() -> None:
    z = _two_weight_losses.swish_minimiser()
    assert z == pytest.approx(-1.27846, abs=5e-6)
    assert float(_two_weight_losses.swish(np.array(z))) == pytest.approx(-0.27846, abs=5e-6)
    loss = _two_weight_losses.worst_loss("swish", "datum", "Linf", 0.5)
    assert float(loss(np.array(-1.5), np.array(0.3))) == pytest.approx(0.8421, abs=1e-4)


def test_pgd_finds_the_surface_of_the_swish_model() -> None:
    def losses(attack: str, found_by: str) -> list[float]:
        rows = run_check(
            "kanai2022/surface", model="swish", attack=attack, eps=0.5, found_by=found_by, points=15, steps=(0.5,)
        )
        return [row["value"] for row in rows if row["metric"] == "loss"]

    for attack in ("L2", "Linf"):
        found, exact = losses(attack, "pgd"), losses(attack, "exact")
        assert len(found) == 225 and found == pytest.approx(exact, abs=1e-3) and found != exact
    with pytest.raises(ConfigError, match="swish model on the datum only"):
        run_check("kanai2022/surface", attack="L2", found_by="pgd")


# -- parts of the checks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["linear", "swish"])
@pytest.mark.parametrize("data", ["datum", "first_feature"])
@pytest.mark.parametrize("attack", ["none", "L2", "Linf"])
def test_the_worst_loss_is_the_largest_of_many_inputs(model: Any, data: Any, attack: Any) -> None:
    eps, random = 0.4, np.random.default_rng(0)
    offsets = random.uniform(-1, 1, (20_000, 2))
    if attack == "L2":
        offsets /= np.maximum(1, np.linalg.norm(offsets, axis=1, keepdims=True))
    offsets *= 0 if attack == "none" else eps
    loss = _two_weight_losses.worst_loss(model, data, attack, eps)
    for theta in ((2.0, -0.7), (-1.4, 0.2), (-2.0, -1.0)):
        total = 0.0
        for x, y in zip(*_two_weight_losses.DATA[data], strict=True):
            z = (np.array(x) + offsets) @ np.array(theta)
            score = z if model == "linear" else z / (1 + np.exp(-z))
            total += np.logaddexp(0, -y * score).max()
        exact = float(loss(np.array(theta[0]), np.array(theta[1])))
        sampled = total / len(_two_weight_losses.DATA[data][0])
        assert sampled <= exact + 1e-12 and sampled == pytest.approx(exact, abs=0.02)


def test_the_integral_reaches_far_beyond_the_window_and_is_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = _two_weight_losses.worst_loss("linear", "datum", "L2", 0.3)
    side = np.linspace(-3, 3, 7)
    usual = _local_entropy.local_entropy(loss, 1.0, side, side)
    nodes, _ = _local_entropy.gauss_legendre_panels(3 + _local_entropy.MARGIN, 0.5)
    assert nodes.max() > 3 + 5  # five standard deviations
    monkeypatch.setattr(_local_entropy, "MARGIN", 11.0)
    monkeypatch.setattr(_local_entropy, "PANELS", 4)
    np.testing.assert_allclose(_local_entropy.local_entropy(loss, 1.0, side, side), usual, atol=1e-7)


def test_the_integral_is_a_log_sum_exp() -> None:
    """A loss of 900 everywhere would underflow without the shift."""
    side = np.array([-1.0, 0.5])
    low = _local_entropy.local_entropy(lambda a, b: a**2 + abs(b), 2.0, side, side)
    high = _local_entropy.local_entropy(lambda a, b: a**2 + abs(b) + 900.0, 2.0, side, side)
    np.testing.assert_allclose(high - low, 900.0, atol=1e-9)
    t, w = _local_entropy.gauss_legendre_panels(8.0, 0.25)
    exponents = -(t[:, None] ** 2 + np.abs(t)) - (1.0 + t[:, None]) ** 2 - (0.5 - t) ** 2
    assert low[0, 1] == pytest.approx(-logsumexp(exponents, b=np.outer(w, w)), abs=1e-9)


def test_moments_are_those_of_a_gaussian_for_a_quadratic_loss() -> None:
    """L = t.A t/2: p_theta is N((A + gamma)^-1 gamma theta, (A + gamma)^-1)."""
    a, gamma = np.array([[2.0, 0.5], [0.5, 1.0]]), 1.5
    side = np.array([-1.0, 2.0])
    found = _local_entropy.local_entropy_moments(
        lambda p, q: (a[0, 0] * p**2 + 2 * a[0, 1] * p * q + a[1, 1] * q**2) / 2, gamma, side, side
    )
    covariance = np.linalg.inv(a + gamma * np.eye(2))
    for i, j in ((0, 0), (0, 1), (1, 0)):
        mean = covariance @ (gamma * np.array([side[i], side[j]]))
        assert [found.mean[0][i, j], found.mean[1][i, j]] == pytest.approx(mean, abs=1e-8)
        assert [c[i, j] for c in found.covariance] == pytest.approx(covariance[[0, 0, 1], [0, 1, 1]], abs=1e-8)


def test_grids_have_a_node_at_0_or_straddle_it() -> None:
    on, beside = _local_entropy.weight_grid(3.0, 0.025), _local_entropy.weight_grid(3.0, 0.025, straddling=True)
    assert len(on) == 241 and 0.0 in on and len(beside) == 240 and np.abs(beside).min() == pytest.approx(0.0125)


def test_the_kink_has_a_closed_form() -> None:
    value, _, variance = theorem_3.entropy_1d(lambda t: 1.5 * abs(t), 2.0, 0.4)
    assert value == pytest.approx(theorem_3.kink_entropy(1.5, 2.0, 0.4), abs=1e-8)
    assert 0 < variance < 1 / 2.0  # exp(-L) <= 1 narrows the Gaussian


def test_the_lipschitz_constants_have_no_room() -> None:
    """C_tt is reached: at theta = 0 the Hessian of the loss is x x^T / 4, here at the farthest input of the ball.

    By hand for x = (3, 4), eps = 0.5 and weights of norm up to 2; the farthest input is 5.5 from the origin under L2.
    """
    x = torch.tensor([3.0, 4.0], dtype=torch.float64)
    c_tt, c_tx = _lipschitz.lipschitz_bounds(x, 0.5, "L2", 2.0)
    assert (c_tt, c_tx) == pytest.approx((5.5**2 / 4, 1 / (1 + math.exp(-11)) + 5.5 * 2 / 4))
    farthest = 1.1 * x

    def loss(theta: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-theta @ farthest)

    hessian = torch.func.hessian(loss)(torch.zeros(2, dtype=torch.float64))
    assert torch.linalg.matrix_norm(hessian, 2).item() == pytest.approx(c_tt)
    reach = 5 + 0.5 * 2**0.5
    expected = (reach**2 / 4, 1 / (1 + math.exp(-0.2 * reach)) + reach * 0.2 / 4)
    assert _lipschitz.lipschitz_bounds(x, 0.5, "Linf", 0.2) == pytest.approx(expected)


# -- figure 1 ----------------------------------------------------------------------------------------------------------


def test_the_worst_input_jumps_under_linf_and_slides_under_l2() -> None:
    rows = run_check("kanai2022/movement", eps=0.2, points=33)
    metrics = {(r["panel"], r["metric"]): r["value"] for r in rows if r["place"] is None}
    jump, still = "(a) L∞, one weight changes sign", "(a) L∞, no weight changes sign"
    assert metrics[jump, "adversarial_example_distance"] == pytest.approx(0.4)
    assert metrics[jump, "jump"] == pytest.approx(0.4)
    assert metrics[still, "adversarial_example_distance"] == 0
    for panel in ("(a) L2, no weight changes sign", "(a) L2, one weight changes sign"):
        assert 0 < metrics[panel, "ratio"] <= metrics[panel, "bound"]
    points = {
        m: [
            r["value"]
            for r in rows
            if r["panel"][1] in "ac" and r["shape"] == "x'(θ) on the way" and "∞" not in r["panel"] and r["metric"] == m
        ]
        for m in ("x_1", "x_2")
    }
    np.testing.assert_allclose(np.hypot(points["x_1"], points["x_2"]), 0.2, rtol=1e-9)


@pytest.mark.parametrize("found", [lambda model, x, *_, **__: x, lambda model, x, *_, **__: x + 0.1])
def test_distances_of_figure_1_are_those_of_found_inputs(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims compare what an attack finds with lemmas 2 and 3; an attack that stands still moves by no 2 eps."""
    replace_in_check(monkeypatch, "kanai2022/movement", "pgd", found)
    rows = run_check("kanai2022/movement", points=3)
    jump = next(
        r for r in rows if r["metric"] == "adversarial_example_distance" and r["panel"].startswith("(a) L∞, one")
    )
    assert jump["value"] == 0


def test_the_highest_point_of_a_ball() -> None:
    turn = np.linspace(0, 2 * np.pi, 20_001)
    edge = 0.3 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for peak in movement.BEYOND:
        away = edge - peak
        best = edge[(np.einsum("ni,ij,nj->n", away, movement.CURVATURE, away)).argmin()]
        np.testing.assert_allclose(movement.highest_point_of_ball(peak, 0.3), best, atol=1e-4)
    inside = movement.INSIDE[0]
    np.testing.assert_array_equal(movement.highest_point_of_ball(inside, 0.3), inside)
