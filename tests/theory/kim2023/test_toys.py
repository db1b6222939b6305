"""The toys and theorem checks of kim2023, chapters 4 and 5, against known numbers (wrong formulas: test_wrong_formulas.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from theory_checks import failing_checks, run_check, single_value

from robustscape import catalog
from robustscape.theory.kim2023 import (
    _picture_rows,
    _saddle_diffusion,
    _toys,
    ascent_chain,
    beale_paths,
    corollary_5_2,
    double_well_paths,
    quadratic_saddle,
    squared_activation,
    theorem_5_1,
)

#: Check -> sizes that make it fast.
CHECKS: dict[str, dict[str, Any]] = {
    "kim2023/theorem_4_2": {"matrices": 4, "rhos": (0.3, 3.0)},
    "kim2023/theorem_4_3": {},
    "kim2023/corollary_4_4": {},
    "kim2023/theorem_4_5": {},
    "kim2023/theorem_5_1": {},
    "kim2023/corollary_5_2": {},
}
#: Toy -> sizes that make it fast.
TOYS: dict[str, dict[str, Any]] = {
    "kim2023/beale_paths": {"points": 5, "steps": 4000},
    "kim2023/double_well_paths": {"points": 5},
    "kim2023/quadratic_saddle": {"points": 5},
    "kim2023/attractor_map": {"points": 5},
    "kim2023/squared_activation": {"points": 5, "draws": 20, "steps": 200},
    "kim2023/diffusion": {"draws": 200, "momentum_draws": 100},
    "kim2023/ascent_chain": {"points": 5},
}


# -- all of them -------------------------------------------------------------------------------------------------------


def test_the_catalogue_finds_them() -> None:
    kim = {name for name in catalog.catalog_entries("theory") if name.startswith("kim2023")}
    assert set(CHECKS) | set(TOYS) <= kim


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CHECKS)
def test_every_row_of_a_check_holds(name: str, seed: int) -> None:
    seeded = {"seed": seed} if "seed" in catalog.find_entry("theory", name).parameters.model_fields else {}
    rows = run_check(name, **CHECKS[name], **seeded)
    assert rows and failing_checks(rows) == set()
    assert all(math.isfinite(entry["value"]) for entry in rows)


@pytest.mark.parametrize("name", TOYS)
def test_toys_give_rows_that_can_be_drawn(name: str) -> None:
    rows = run_check(name, **TOYS[name])
    assert rows == run_check(name, **TOYS[name])
    assert all(math.isfinite(row["value"]) for row in rows if row["metric"] != "step_trapped")
    shown = [row for row in rows if "layer" in row]
    assert {"view", "panel", "layer", "method", "point", "x", "y", "metric", "unit"} <= set(shown[0])
    places = [(row["view"], row["point"]) for row in shown]
    assert len(places) == len(set(places))
    assert all("point" not in row for row in rows if "layer" not in row)


# -- Beale's function --------------------------------------------------------------------------------------------------


def test_beale_in_numbers() -> None:
    assert _toys.beale(*_toys.BEALE_SADDLE) == 14.203125
    assert _toys.beale(*_toys.BEALE_MINIMUM) == 0
    assert _toys.beale_gradient(*_toys.BEALE_SADDLE) == (0, 0) == _toys.beale_gradient(*_toys.BEALE_MINIMUM)
    assert _toys.beale_hessian(*_toys.BEALE_SADDLE).tolist() == [[0, 27.75], [27.75, 0]]
    eigenvalues = np.linalg.eigvalsh(_toys.beale_hessian(*_toys.BEALE_MINIMUM))
    assert eigenvalues == pytest.approx([0.30, 48.98], abs=0.005)


@pytest.mark.parametrize(
    ("loss", "gradient"),
    [
        (_toys.beale, _toys.beale_gradient),
        (_toys.quadratic, _toys.quadratic_gradient),
        (_toys.double_well, _toys.double_well_gradient),
    ],
)
def test_derivatives_are_those_of_the_function(loss: Any, gradient: Any) -> None:
    for point in torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        expected = torch.func.grad(lambda w: loss(w[0], w[1]))(point)
        assert gradient(*point.tolist()) == pytest.approx(expected.tolist(), rel=1e-12)
    if loss is _toys.beale:
        expected = torch.func.hessian(lambda w: loss(w[0], w[1]))(point)
        np.testing.assert_allclose(_toys.beale_hessian(*point.tolist()), expected.numpy(), rtol=1e-12)


def test_beale_gradient_descent_arrives_and_sam_is_trapped() -> None:
    rows = run_check("kim2023/beale_paths", points=5)
    for method in ("GD", "GD, second start"):
        assert single_value(rows, "final_loss", method=method) < 1e-4
    ends = [single_value(rows, "distance_to_minimum", method=method) for method in ("GD", "GD, second start")]
    assert ends == pytest.approx([0.0191, 0.0198], abs=1e-4)
    starts = {(row["panel"], row["x"], row["y"]) for row in rows if row.get("text") == "start"}
    assert starts == {("normalised radius, ρ = 0.5", 1, 2), ("constant radius, ρ = 0.05", -1, 0.2)}
    assert single_value(rows, "step_trapped", method="SAM, normalised") == pytest.approx(256, abs=2)
    assert single_value(rows, "step_trapped", method="SAM, constant") == pytest.approx(3130, abs=2)
    held = [
        row["value"] for row in rows if row["metric"] == "distance_to_saddle" and row["method"] == "SAM, normalised"
    ]
    assert len(held) == 2 and held[0] == held[1] < 0.002  # of figure 4.1 and of 4.3
    assert single_value(rows, "least_cosine_at_the_end", method="SAM, normalised") < -0.95
    assert single_value(rows, "largest_cosine_at_the_end", method="SAM, normalised") > 0.95
    assert single_value(rows, "largest_cosine_at_the_end", method="SAM, constant") == pytest.approx(-1, abs=1e-6)
    shown = [row["x"] for row in rows if row.get("panel") == "last steps" and row["method"] == "SAM, constant"]
    assert 20_000 < max(shown) < 25_000  # later it is at the saddle to the last digit, and gradients have no direction
    assert single_value(rows, "sign_changes", method="SAM, normalised") > 1000


@pytest.mark.parametrize(
    ("rule", "start", "radius", "trapped"),
    [
        *(("normalised", (1.0, 2.0), radius, radius >= 0.4) for radius in (0.1, 0.3, 0.4, 0.5)),
        *(("normalised", (-1.0, 0.2), radius, radius >= 0.3) for radius in (0.1, 0.2, 0.3, 0.4)),
        *(("constant", (-1.0, 0.2), radius, radius >= 0.05) for radius in (0.03, 0.04, 0.05)),
    ],
)
def test_which_radii_trap(rule: Any, start: tuple[float, float], radius: float, trapped: bool) -> None:
    path = _toys.sam_path(_toys.beale_gradient, start, eta=1e-4, steps=6000, radius=radius, rule=rule)
    ends = math.dist(path.weights[-1], _toys.BEALE_SADDLE)
    assert (ends < 0.05) == trapped


def test_a_path_that_diverges_ends() -> None:
    path = _toys.sam_path(_toys.beale_gradient, (1.0, 2.0), eta=1e-4, steps=5000, radius=0.05, rule="constant")
    assert len(path.weights) < 100 and np.isfinite(path.weights).all()
    assert len(path.weights) == len(path.perturbed)


def test_the_basin_boundary_leaves_the_saddle_along_its_stable_direction() -> None:
    line = _toys.gradient_flow_line(_toys.beale_gradient, (1e-4, 1 + 1e-4), backward=True, step=0.001, length=0.1)
    assert line[-1] - _toys.BEALE_SADDLE == pytest.approx([0.0707, 0.0707], abs=0.006)
    down = _toys.gradient_flow_line(_toys.beale_gradient, (1e-4, 1 - 1e-4), backward=False, length=3.0)
    losses = _toys.beale(down[:, 0], down[:, 1])
    assert np.diff(losses).max() < 1e-6 and losses[-1] < 1


# -- saddles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.3, 0.49, 0.5, 0.51, 1.0])
def test_sam_on_the_quadratic_saddle_grows_as_its_eigenvalues_say(rho: float) -> None:
    """Each step multiplies a coordinate by 1 - eta (lambda + rho lambda^2)."""
    path = _toys.sam_path(
        _toys.quadratic_gradient, (-3, -0.01), eta=0.01, steps=200, radius=rho, rule="constant", within=math.inf
    )
    for axis, (eigenvalue, start) in enumerate(((2, -3), (-2, -0.01))):
        factor = 1 - 0.01 * (eigenvalue + rho * eigenvalue**2)
        assert path.weights[-1, axis] == pytest.approx(start * factor**200, rel=1e-9)


def test_the_quadratic_saddle_in_numbers() -> None:
    rows = run_check("kim2023/quadratic_saddle", points=5)
    assert single_value(rows, "attractor_threshold_rho") == pytest.approx(0.5, abs=1e-5)
    assert single_value(rows, "hessian_eigenvalue_1") == 2 and single_value(rows, "hessian_eigenvalue_2") == -2
    assert single_value(rows, "lambda+rho*lambda^2 (eig 1)") == 6
    assert single_value(rows, "lambda+rho*lambda^2 (eig 2)") == 2
    assert quadratic_saddle.contraction_rate(2, 0.25, 0.01) == pytest.approx(-1)
    assert single_value(rows, "distance_to_saddle", method="SAM") < 1e-19
    assert single_value(rows, "largest_y", method="GD") > 1
    assert single_value(rows, "distance_to_saddle", method="SAM, normalised") < 0.05


def test_the_eigenvalues_of_the_saddle_are_those_of_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quadratic_saddle, "quadratic_gradient", lambda x, y: (3 * x + y, x - 5 * y))
    assert quadratic_saddle.saddle_eigenvalues() == pytest.approx([-1 + 17**0.5, -1 - 17**0.5])


def test_the_best_of_fair_tosses_is_the_binomial_tail() -> None:
    """Two hypotheses, three tosses: both have an error at least with probability (7/8)^2."""
    below = theorem_5_1.probability_that_the_best_is_below
    assert below(1 / 3, 2, 3) == pytest.approx(1 - (7 / 8) ** 2)
    assert below(0.34, 2, 3) == pytest.approx(1 - (4 / 8) ** 2)
    assert below(0.0, 2, 3) == 0


def test_ascent_under_both_rules() -> None:
    assert _toys.perturbed_point(_toys.quadratic_gradient, (3.0, -2.0), 0.5, "constant") == (6.0, 0.0)
    above = _toys.perturbed_point(_toys.quadratic_gradient, (3.0, -2.0), 0.5, "normalised")
    assert math.dist(above, (3.0, -2.0)) == pytest.approx(0.5)
    assert _toys.perturbed_point(_toys.quadratic_gradient, (0.0, 0.0), 0.5, "normalised") == (0, 0)


def test_a_step_of_sam_on_a_quadratic_is_h_times_one_plus_rho_h() -> None:
    path = _toys.sam_path(_toys.quadratic_gradient, (1.0, 1.0), eta=0.1, steps=1, radius=0.3, rule="constant")
    assert path.weights[1] == pytest.approx([1 - 0.1 * 2 * (1 + 0.6), 1 + 0.1 * 2 * (1 - 0.6)])


def test_beales_saddle_holds_sam_from_the_threshold_on() -> None:
    rows = run_check("kim2023/attractor_map", points=3, at_saddle=(0.99 / 27.75, 1.01 / 27.75))
    values = {(r["number"], round(r["rho"] * 27.75, 2)): r["value"] for r in rows if r["metric"] == "at_the_saddle"}
    assert values[1, 0.99] < 0 < values[1, 1.01]
    assert min(values[2, 0.99], values[2, 1.01]) > 0
    kept = {round(r["rho"] * 27.75, 2): r["value"] for r in rows if r["metric"] == "distance_kept"}
    # Near the saddle each step multiplies the distance by 1 - eta (lambda + rho lambda^2).
    for factor in (0.99, 1.01):
        expected = (1 - 1e-4 * (-27.75 + factor / 27.75 * 27.75**2)) ** 20_000
        assert kept[factor] == pytest.approx(expected, rel=0.02)
    assert single_value(rows, "attractor_threshold_rho") == pytest.approx(1 / 27.75, rel=1e-3)


def test_the_least_value_near_beales_saddle() -> None:
    """In the limit of a small neighbourhood it is the value at the saddle; the map has smaller values farther away."""
    rows = run_check("kim2023/attractor_map", points=3, near=1e-6, radii=(0.05,), at_saddle=(0.05,))
    least = {r["number"]: r["value"] for r in rows if r["metric"] == "least_near_the_saddle"}
    there = {r["number"]: r["value"] for r in rows if r["metric"] == "at_the_saddle"}
    assert least == pytest.approx(there, rel=1e-4)
    far = run_check("kim2023/attractor_map", points=3, near=1.0, radii=(0.05,), at_saddle=(0.05,))
    assert {r["number"]: r["value"] for r in far if r["metric"] == "least_near_the_saddle"}[1] < 0


@pytest.mark.parametrize("wanted", double_well_paths.STARTS)
def test_the_double_well_shows_every_case(wanted: str) -> None:
    assert double_well_paths.sam_step_case(double_well_paths.STARTS[wanted], 0.7, 0.6) == wanted
    rows = run_check("kim2023/double_well_paths", points=5)
    assert single_value(rows, "is_this_case", method=wanted) == 1
    assert single_value(rows, "perturbed_weight_in_the_other_basin", method=wanted) == ("III" in wanted)
    assert single_value(rows, "next_weight_in_the_other_basin", method=wanted) == ("(ii)" in wanted)
    assert single_value(rows, "gradient_cosine", method="case I") > 0.99


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_many_steps_at_once_are_single_steps(radius: float) -> None:
    points = np.random.default_rng(0).uniform(-1.4, 1.4, (20, 2))
    above, after = double_well_paths.sam_steps(points, radius, 0.1)
    for point, upper, later in zip(points.tolist(), above, after, strict=True):
        alone = double_well_paths.sam_step((point[0], point[1]), radius, 0.1)
        assert upper == pytest.approx(alone[0]) and later == pytest.approx(alone[1])


def test_cases_over_all_starts_of_a_basin() -> None:
    rows = run_check("kim2023/double_well_paths", points=5, radii=(0.3,), starts=12)
    for case, expected in {"case I": (0, 1), "case II": (0.7, 0.3), "case III (i)": (1, 0)}.items():
        where = {"method": case, "radius": 0.3}
        assert single_value(rows, "share_descending", **where) == 1
        assert single_value(rows, "share_held", **where) == ("III" in case)
        at_saddle, at_minimum = (single_value(rows, f"share_{end}", **where) for end in ("crossing", "at_minimum"))
        assert (at_saddle, at_minimum) == pytest.approx(expected, abs=0.05)
    assert single_value(rows, "median_cosine", method="case I", radius=0.3) > 0.95
    assert single_value(rows, "median_cosine", method="case III (i)", radius=0.3) < 0.9


# -- the net of one squared unit ---------------------------------------------------------------------------------------

RULES = [
    (rule, rho) for rule, rhos in (("normalised", (0, 0.02, 0.05, 0.1, 0.3)), ("constant", (0.3, 0.9))) for rho in rhos
]


def train(settings: list[tuple[str, float]], **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes: dict[str, Any] = {"eta": 0.01, "steps": 10_000, "batch": 64, "runs": 200, **changes}
    return squared_activation.train_squared_unit(settings, **sizes, generator=np.random.default_rng(1))


def test_mean_loss_of_the_squared_unit() -> None:
    """Known numbers, from 500 runs: 2.251, 2.304, 2.377, 2.498, 2.50; constant 2.256 and 2.412."""
    w1, w2 = train(RULES)
    losses = squared_activation.expected_loss(w1, w2).mean(1)
    assert losses == pytest.approx([2.251, 2.304, 2.377, 2.498, 2.50, 2.256, 2.412], abs=0.03)
    stuck = squared_activation.ends_stuck(w1, w2).mean(1)
    assert stuck[:4] == pytest.approx([0, 0.21, 0.51, 0.99], abs=0.09)


def test_an_end_is_stuck_by_its_loss() -> None:
    """On the saddle line, and where w_2 is 0; not at a minimum, nor beyond it, nor where the loss is larger than the line's."""
    w1, w2 = np.array([[0, 1.5], [0.25, 0.01], [0.5, 2.0], [0.7, 1.0], [1.2, 1.0]]).T
    assert squared_activation.ends_stuck(w1, w2).tolist() == [True, True, False, False, False]


def test_large_radii_swing_beyond_the_line_at_its_loss() -> None:
    w1, w2 = train([("normalised", 0.8)], runs=400)
    assert squared_activation.ends_stuck(w1, w2).all()
    assert 0.2 < np.abs(w1).max() < 0.3


def test_single_samples_stick_sooner() -> None:
    w1, w2 = train([("normalised", 0.0), ("normalised", 0.05)], batch=1, runs=100)
    assert squared_activation.expected_loss(w1, w2).mean(1) == pytest.approx([2.291, 2.50], abs=0.04)


def test_one_step_of_the_squared_unit() -> None:
    """The gradient of (w2 w1^2 - y)^2 at the point above, for the batch's mean label."""
    generator = np.random.default_rng(3)
    start = generator.uniform(-0.1, 0.1, 5), generator.uniform(0, 1, 5)
    label = squared_activation.label_means(64, 1, 5, generator)[0]
    for rule in ("normalised", "constant"):
        w = squared_activation.train_squared_unit(
            [(rule, 0.2)], eta=0.1, steps=1, batch=64, runs=5, generator=np.random.default_rng(3)
        )
        for i in range(5):
            point = torch.tensor([start[0][i], start[1][i]], dtype=torch.float64)
            gradient = torch.func.grad(lambda v, y=label[i]: (v[1] * v[0] ** 2 - y) ** 2)
            above = point + 0.2 * gradient(point) / (gradient(point).norm() if rule == "normalised" else 1)
            after = point - 0.1 * gradient(above)
            assert [w[0][0, i], w[1][0, i]] == pytest.approx(after.tolist(), rel=1e-9)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_labels_are_binomial(batch: int) -> None:
    means = squared_activation.label_means(batch, 200, 500, np.random.default_rng(0))
    assert means.mean() == pytest.approx(0.5, abs=0.02)
    assert means.var() == pytest.approx(2.25 / batch, rel=0.03)
    assert set(np.unique(means * batch + batch).round(9) % 3) == {0}


def test_the_losses_beside_the_printed_ones_are_those_at_which_training_ends() -> None:
    rows = run_check("kim2023/squared_activation", points=3, draws=40, batches=(64,), radii=(0.0, 0.9))
    assert single_value(rows, "global_minimum_loss") == pytest.approx(2.25, abs=1e-3)
    assert single_value(rows, "saddle_loss") == pytest.approx(2.5, abs=1e-2)
    untrained = run_check("kim2023/squared_activation", points=3, draws=40, batches=(64,), radii=(0.0, 0.9), steps=1)
    assert single_value(untrained, "global_minimum_loss") > 2.4


def test_runs_that_diverge_are_counted_and_left_out() -> None:
    sizes = {"points": 3, "draws": 200, "steps": 300, "batches": (1,), "radii": (0.0, 0.5)}
    rows = run_check("kim2023/squared_activation", **sizes, eta=0.25)
    diverged = {(r["method"], r["radius"]): r["value"] for r in rows if r["metric"] == "runs_not_finite"}
    means = {(r["method"], r["radius"]): r["value"] for r in rows if r["metric"] == "mean_loss"}
    assert 0 < diverged["normalised", 0.0] < 200
    assert 2.25 <= means["normalised", 0.0] < 100
    none_left = run_check("kim2023/squared_activation", **sizes, eta=100.0)
    assert any(math.isnan(row["value"]) for row in none_left if row["metric"] == "mean_loss")


# -- diffusion ---------------------------------------------------------------------------------------------------------


def test_variances_in_numbers() -> None:
    """lambda = -1, eta = 0.01, B = 10, rho = 0.1, t = 0.2."""
    common = {"eta": 0.01, "batch": 10}
    assert _saddle_diffusion.diffusion_variance(-1.0, 0.2, **common) == pytest.approx(2.459e-4, rel=1e-3)
    assert _saddle_diffusion.diffusion_variance(-1.0, 0.2, rho=0.1, power=1, **common) == pytest.approx(
        2.407e-4, rel=1e-3
    )
    assert _saddle_diffusion.diffusion_variance(-1.0, 0.2, rho=0.1, power=2, **common) == pytest.approx(
        2.362e-4, rel=1e-3
    )
    assert _saddle_diffusion.diffusion_variance(-1.0, 0.5, rho=1.0, power=1, **common) == pytest.approx(
        2 * 0.01 / 20 * 0.5
    )


def test_simulated_variances_are_within_three_percent() -> None:
    """SAM's own step, the gradient at w^p, is power 1; 2e5 paths."""
    generator = np.random.default_rng(0)
    drifts = np.array([-1.0, -1.0 * (1 - 0.1), -1.0 * (1 - 0.5), 1.0 * (1 + 0.5)])
    values = np.array([-1.0, -1.0, -1.0, 1.0])
    early, late = _saddle_diffusion.simulate_variances(
        values, drifts, eta=0.01, batch=10, steps=[20, 50], paths=200_000, generator=generator
    )
    common = {"eta": 0.01, "batch": 10}
    assert early[1] == pytest.approx(2.375e-4, rel=0.03)
    for rho, column in ((0.0, 0), (0.1, 1), (0.5, 2)):
        assert late[column] == pytest.approx(
            float(_saddle_diffusion.diffusion_variance(-1.0, 0.5, rho=rho, **common)), rel=0.03
        )
    assert late[3] == pytest.approx(float(_saddle_diffusion.diffusion_variance(1.0, 0.5, rho=0.5, **common)), rel=0.03)
    assert abs(late[2] / _saddle_diffusion.diffusion_variance(-1.0, 0.5, rho=0.5, power=2, **common) - 1) > 0.1


def test_the_pictures_say_how_far_they_are_off() -> None:
    rows = run_check("kim2023/diffusion", draws=50_000, momentum_draws=2000)
    off = {(r["panel"], r["method"]): r["value"] for r in rows if r["metric"] == "largest_relative_error"}
    assert len(off) == 9 and max(off.values()) < 0.06 and min(off.values()) > 0
    ends = {
        r["method"][:6]: r["value"] for r in rows if r["metric"] == "last_variance" and r["panel"].startswith("(b)")
    }
    assert ends["SAM, a"] < 0.2 * ends["SGD"]


def test_displacement_under_momentum() -> None:
    """gamma = 0 and t far above eta: SGD's variance plus the inertial term; B counts once."""
    common = {"rho": 0.3, "eta": 0.01}
    plain = _saddle_diffusion.mean_squared_displacement(0.0, -1.0, 0.5, batch=4, **common)
    variance = _saddle_diffusion.diffusion_variance(-1.0, 0.5, power=2, batch=4, **common)
    assert plain == pytest.approx(variance + 0.01**2 / 2 / 4)
    assert _saddle_diffusion.mean_squared_displacement(0.5, -1.0, 0.5, batch=1, **common) == pytest.approx(
        4 * _saddle_diffusion.mean_squared_displacement(0.5, -1.0, 0.5, batch=4, **common)
    )
    exact = _saddle_diffusion.exact_momentum_displacement(
        -1.0, np.array([0.0, 0.9]), rho=0.5, eta=0.01, batch=4, steps=50
    )
    # Without momentum the recursion is a geometric series, with it the simulation's own mean.
    growth = (1 + 0.01 * 0.5) ** 2
    assert exact[0] == pytest.approx(0.01**2 / 4 * (growth**50 - 1) / (growth - 1))
    simulated = _saddle_diffusion.simulate_momentum_displacement(
        -1.0, np.array([0.9]), rho=0.5, eta=0.01, batch=4, steps=50, paths=50_000, generator=np.random.default_rng(0)
    )
    assert simulated[0] == pytest.approx(exact[1], rel=0.04)
    assert _saddle_diffusion.displacement_constants(1.0, 0.5, rho=0.0, eta=0.01)[1] == 50
    assert _saddle_diffusion.displacement_constants(1.0, 0.5, rho=0.0, eta=0.01, printed=True)[1] == 0.02


# -- chapter 5 ---------------------------------------------------------------------------------------------------------


def test_chains_of_ascent_steps() -> None:
    path = ascent_chain.ascent_points((0.2, 0.4), 1.2, 5)
    assert np.hypot(*np.diff(path, axis=0).T) == pytest.approx([0.24] * 5)
    gradient = np.array(ascent_chain.toy_gradient(0.2, 0.4))
    assert path[1] - path[0] == pytest.approx(0.24 * gradient / np.hypot(*gradient))
    rows = run_check("kim2023/ascent_chain", points=3)
    assert single_value(rows, "distance_reached", ascents=1) == pytest.approx(1)
    assert single_value(rows, "distance_reached", ascents=5) < 1
    assert single_value(rows, "loss_along_v", ascents=2) > single_value(rows, "loss_along_v", ascents=1)
    point = torch.tensor([0.7, -0.3], dtype=torch.float64)

    def toy(w: torch.Tensor) -> torch.Tensor:
        return w[0] ** 2 / 20 + 3 * w[1] ** 2 / 5 + 2 * torch.exp(-2 * (w[0] - 1.4) ** 2 - 2 * (w[1] - 0.6) ** 2)

    assert ascent_chain.toy_loss(*point.tolist()) == pytest.approx(toy(point).item())
    assert ascent_chain.toy_gradient(*point.tolist()) == pytest.approx(torch.func.grad(toy)(point).tolist())


def test_divergence_and_bound_by_hand() -> None:
    assert theorem_5_1.gaussian_kl(np.array([1.0, 2.0]), 1.0, 1.0) == pytest.approx(2.5)
    assert theorem_5_1.gaussian_kl(np.zeros(3), 2.0, 2.0) == 0
    assert theorem_5_1.gaussian_kl(np.zeros(1), 0.5, 1.0) == pytest.approx(math.log(2) - 0.375)
    assert theorem_5_1.pac_bayes_bound(0.1, 2.0, 101, 0.05) == pytest.approx(0.1 + ((2 + math.log(2020)) / 200) ** 0.5)


def test_the_population_of_corollary_5_2() -> None:
    """Closed forms of the population loss and of its mean under Gaussian weights, against Monte Carlo."""
    generator = np.random.default_rng(0)
    w = np.array([0.9, 0.2])
    x = corollary_5_2.CENTRE + corollary_5_2.SPREAD * generator.standard_normal((400_000, 2))
    loss = 1 - np.exp(-((w - x) ** 2).sum(1) / 2)
    assert corollary_5_2.population_loss(w) == pytest.approx(loss.mean(), abs=2e-3)
    moved = 1 - np.exp(-((w + 0.5 * generator.standard_normal(x.shape) - x) ** 2).sum(1) / 2)
    assert corollary_5_2.population_loss(w, 0.5) == pytest.approx(moved.mean(), abs=2e-3)
    assert corollary_5_2.sample_losses(w[None], x[:50])[0] == pytest.approx(loss[:50].mean())


def test_the_weights_of_corollary_5_2_are_trained() -> None:
    x = corollary_5_2.CENTRE + corollary_5_2.SPREAD * np.random.default_rng(1).standard_normal((60, 2))
    w = corollary_5_2.trained_weights(x)
    here = corollary_5_2.sample_losses(w[None], x)[0]
    for radius in (0.01, 0.2):
        circle = w + radius * np.stack([np.cos(a := np.arange(12)), np.sin(a)], axis=1)
        assert corollary_5_2.sample_losses(circle, x).min() > here
        worst = corollary_5_2.worst_loss_in_ball(x, w, radius)
        assert worst == pytest.approx(corollary_5_2.sample_losses(circle, x).max(), rel=0.02) and worst > here


def test_the_tail_of_corollary_5_2_against_the_chi_square_distribution() -> None:
    for k, t in ((1, 0.5), (10, 2.0), (100, 4.0)):
        exact = chi2.sf((k * 0.3**2 + corollary_5_2.tail_threshold(k, t, 0.3)) / 0.3**2, k)
        rows = run_check("kim2023/corollary_5_2", dimensions=(k,), times=(t,), sigma=0.3, datasets=50)
        found = next(row["value"] for row in rows if row["check"] == "tail lemma")
        assert found == pytest.approx(exact, abs=5 * (exact / 200_000) ** 0.5)


# -- rows --------------------------------------------------------------------------------------------------------------


def test_drawn_rows() -> None:
    rows = _picture_rows.drawn_rows("v", "path", [1.0, 2.0], 0.1234567, [3.0, 4.0], method="m", eta=0.1)
    assert [row["x"] for row in rows] == [1, 2] and {row["y"] for row in rows} == {0.123457}
    assert rows[0]["eta"] == 0.1 and rows[1]["value"] == 4
    assert _picture_rows.drawn_rows("v", "path", np.array([]), np.array([])) == []
    both = _picture_rows.number_points(
        [*rows, *_picture_rows.outcome_row("v", "loss", 1), *_picture_rows.drawn_rows("w", "point", 0, 0, text="t")]
    )
    assert [row.get("point") for row in both] == [0, 1, None, 0]
    assert _picture_rows.evenly_spaced_indices(1000, 5).tolist() == [0, 250, 500, 749, 999]
    assert _picture_rows.evenly_spaced_indices(0, 5).tolist() == []
    assert beale_paths.END == 1000
