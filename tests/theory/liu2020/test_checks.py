"""The checks and toys of liu2020: known numbers, closed forms, and wrong formulas that are noticed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from theory_checks import Rows, single_value

from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Schedule
from robustscape.theory.liu2020 import _linear_model as linear
from robustscape.theory.liu2020 import _scalar_toy as toy
from robustscape.theory.liu2020.convergence import convergence
from robustscape.theory.liu2020.directions import directions
from robustscape.theory.liu2020.flat_and_sharp import flat_and_sharp
from robustscape.theory.liu2020.linear_sets import linear_sets
from robustscape.theory.liu2020.scalar_losses import scalar_losses
from robustscape.theory.liu2020.schedules import schedules
from robustscape.theory.liu2020.sharper_minima import sharper_minima, worst_loss_curvature, worst_shifted_loss
from robustscape.theory.liu2020.smoothness import smoothness
from robustscape.training.schedules import schedule_factor

CONFIG = Path(__file__).parents[3] / "config"

#: eps -> shares of good, bad and (half line) bad directions of section 2.1, from 2e5 draws of numpy's default_rng(0);
#: x = (0.1257, -0.1321, 0.6404, 0.1049).
SHARES = {
    0.0: (0.3347, 0.0000, 0.5006),
    0.1: (0.1903, 0.3130, 0.6560),
    0.2: (0.0729, 0.6345, 0.8166),
    0.4: (0.0010, 0.9707, 0.9852),
}


# -- the linear model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shares() -> Rows:
    return linear_sets()


@pytest.mark.parametrize("eps", SHARES)
def test_shares_of_good_and_bad_directions(shares: Rows, eps: float) -> None:
    for metric, expected in zip(("share_good", "share_bad", "share_bad_half_line"), SHARES[eps], strict=True):
        assert single_value(shares, metric, eps=eps) / 100 == pytest.approx(expected, abs=6e-5)


def test_from_the_largest_entry_of_x_on_every_direction_is_bad(shares: Rows) -> None:
    bar = next(row["eps"] for row in shares if row["at_eps_bar"])
    assert bar == pytest.approx(0.6404, abs=5e-5)
    assert single_value(shares, "share_good", eps=bar) == 0
    assert single_value(shares, "share_bad", eps=bar) == single_value(shares, "share_bad_half_line", eps=bar) == 100
    assert all(row["nested"] for row in shares)


def test_shares_that_are_not_nested_are_seen() -> None:
    rows = linear_sets(draws=500, eps_values=[0.4, 0.1])
    assert not all(row["nested"] for row in rows)


@pytest.mark.parametrize(("inputs", "classes", "seed"), [(4, 3, 0), (3, 5, 1), (1, 3, 2)])
def test_closed_forms_agree_with_brute_force(inputs: int, classes: int, seed: int) -> None:
    rows = directions(inputs=inputs, classes=classes, draws=100, seed=seed, eps_values=[0.0, 0.1, 0.3, 0.9])
    assert all(row["holds"] for row in rows)
    assert {"V closed form", "T closed form", "P1 nested", "T1 nested", "T2 everything is bad"} <= {
        row["check"] for row in rows
    }


def test_the_loss_of_the_linear_model_by_hand() -> None:
    x, weights = np.array([1.0, 2.0]), np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]]])
    assert linear.linear_model_losses(x[None], weights)[0, 0] == pytest.approx(math.log(1 + math.e + math.exp(-2)))
    assert sorted(map(tuple, linear.box_corners(x, 0.5))) == [(0.5, 1.5), (0.5, 2.5), (1.5, 1.5), (1.5, 2.5)]
    worst_case = max(math.log(1 + math.exp(a) + math.exp(-b)) for a in (0.5, 1.5) for b in (1.5, 2.5))
    assert linear.worst_corner_losses(x, weights, 0.5)[0] == pytest.approx(worst_case)


def test_a_wrong_closed_form_disagrees_with_the_search() -> None:
    x, weights = linear.random_linear_model(4, 3, 200, 0)
    searched = linear.bad_by_search(x, weights, 0.2, np.geomspace(1e-4, 10, 101))
    euclidean = np.abs(linear.class_differences(weights).sum(1) @ x) <= 0.2 * np.linalg.norm(
        linear.class_differences(weights).sum(1), axis=1
    )
    assert (euclidean != searched).any()
    assert (linear.is_bad_direction(x, weights, 0.2) == searched).all()


# -- the scalar toy ---------------------------------------------------------------------------------------------------------


def test_smoothness_theorem_holds_on_the_toy() -> None:
    rows = smoothness(draws=2000)
    assert all(row["holds"] for row in rows)
    jump = [row["value"] for row in rows if row["quantity"] == "jump of the derivative" and row["eps"] == 1.2]
    assert jump[0] == pytest.approx(1.2, abs=1e-5)


def test_the_gradient_alone_breaks_the_bound_without_the_eps_term() -> None:
    _, curvature, cross = toy.lipschitz_constants(0.6)
    gap = float(toy.adversarial_slope(np.array(1e-3), 0.6) - toy.adversarial_slope(np.array(-1e-3), 0.6))
    assert gap > curvature * 2e-3
    assert gap <= curvature * 2e-3 + 2 * 0.6 * cross


def test_constants_of_the_toy() -> None:
    assert toy.lipschitz_constants(0.0)[2] == pytest.approx(1.0998, abs=1e-4)
    assert toy.lipschitz_constants(1.0)[:2] == (2.0, 1.0)


def test_slope_is_the_derivative_of_the_loss() -> None:
    theta = np.array([-2.0, -0.3, 0.4, 3.0])
    for eps in (0.0, 0.6, 1.2):
        difference = (toy.adversarial_loss(theta + 1e-6, eps) - toy.adversarial_loss(theta - 1e-6, eps)) / 2e-6
        np.testing.assert_allclose(toy.adversarial_slope(theta, eps), difference, atol=1e-8)


def test_convergence_theorem_holds_and_is_not_vacuous() -> None:
    rows = convergence(steps=2000, draws=16)
    assert all(row["holds"] for row in rows)
    shares = [row for row in rows if row["check"] == "probability bound"]
    bounds = {row["gamma"]: row["expected"] for row in shares}
    assert bounds == pytest.approx({2: 0, 3: 1 - 4 / 7, 4: 1 - 1 / 3, 6: 1 - 4 / 28})
    assert any(row["value"] < 0.99 for row in shares if row["gamma"] == 6)


def test_curves_of_figure_2() -> None:
    rows = scalar_losses()
    for eps in (0.6, 1.2):
        assert single_value(rows, "right_derivative", eps=eps) == pytest.approx((1 + eps) / 2)
        assert single_value(rows, "left_derivative", eps=eps) == pytest.approx((1 - eps) / 2)
    assert single_value(rows, "minimiser", eps=1.2) == pytest.approx(0, abs=1e-9)
    assert single_value(rows, "minimum", eps=1.2) == pytest.approx(math.log(2))
    assert single_value(rows, "minimiser", eps=0.6) == pytest.approx(-3, abs=1e-9)
    assert single_value(rows, "smallest_rise", eps=0.6) > 0 > single_value(rows, "smallest_rise", eps=1.2)
    curve = {r["theta"]: r["value"] for r in rows if r.get("curve") == "adversarial" and r["metric"] == "loss"}
    assert len(curve) == 121
    vanilla = [r["value"] for r in rows if r["curve"] == "vanilla" and r["metric"] == "loss" and r["theta"] == 3.0]
    assert vanilla == pytest.approx([math.log1p(math.exp(3))] * 2)


# -- sketches -------------------------------------------------------------------------------------------------------------------


def test_second_differences_of_figure_3() -> None:
    rows = sharper_minima()
    curvature = [single_value(rows, "curvature_at_minimum", eps=eps) for eps in (0.0, 0.1, 0.3)]
    assert curvature == pytest.approx([4.8, 51, 127], rel=0.01)
    assert worst_loss_curvature(-0.49, 0.0) == pytest.approx(0.3 + 4.5 * math.sin(1.47), rel=0.01)


def test_the_worst_shift_is_never_better_than_none() -> None:
    theta = np.linspace(-3, 3, 101)
    assert (worst_shifted_loss(theta, 0.1) >= worst_shifted_loss(theta, 0.0)).all()
    assert (worst_shifted_loss(theta, 0.3) >= worst_shifted_loss(theta, 0.1) - 1e-3).all()


def test_the_sharp_minimum_generalises_worse() -> None:
    rows = flat_and_sharp()
    flat, sharp = (single_value(rows, "loss_gap", minimum=name) for name in ("flat", "sharp"))
    assert flat == pytest.approx(0.9 * (1 - math.exp(-0.045)), abs=1e-3)
    assert sharp == pytest.approx(0.9 * (1 - math.exp(-1.125)), abs=1e-3)
    assert sharp > 10 * flat


# -- schedules --------------------------------------------------------------------------------------------


def study_schedules(check: str) -> dict[str, Any]:
    parameters: dict[str, Any] = load_experiment(CONFIG, "paper").studies["liu2020"].theory[check].parameters
    return parameters


@pytest.mark.parametrize(
    ("check", "recipes"),
    [
        ("budgets_mnist", {"cosine": "mnist_04-cosine-lr0.001", "linear": "mnist_04-linear"}),
        (
            "budgets_cifar10",
            {
                "constant": "cifar10_schedules",
                "cosine": "cifar10_schedules-cosine",
                "linear": "cifar10_schedules-linear",
            },
        ),
        (
            "budgets_cifar10_periodic",
            {"cosine": "cifar10_schedules-cosine_periodic", "linear": "cifar10_schedules-linear_periodic"},
        ),
    ],
)
def test_figure_11_shows_the_schedules_of_the_recipes(check: str, recipes: dict[str, str]) -> None:
    drawn, trained = study_schedules(check)["schedules"], load_experiment(CONFIG, "paper").recipes
    for name, recipe in recipes.items():
        assert Schedule.model_validate(drawn[name]) == trained[f"liu2020_{recipe}"].eps_schedule
        assert study_schedules(check)["epochs"] == trained[f"liu2020_{recipe}"].epochs


def test_figure_12_shows_the_schedules_of_the_recipes() -> None:
    drawn, trained = study_schedules("rates")["schedules"], load_experiment(CONFIG, "paper").recipes
    assert (
        Schedule.model_validate(drawn["constant with drops"]) == trained["liu2020_cifar10_schedules-linear"].lr_schedule
    )
    assert (
        Schedule.model_validate(drawn["periodic"]) == trained["liu2020_cifar10_schedules-linear_periodic"].lr_schedule
    )


def test_budgets_follow_the_formulas() -> None:
    """The formulas of section 3.1, written out again here."""
    parameters = study_schedules("budgets_mnist")
    rows = schedules(**parameters)
    for epoch in (0, 1, 30, 49, 50, 60, 61, 99):
        p = epoch / 100
        cosine = min(0.4, 0.5 * (1 - math.cos(p * math.pi)) * 0.6)
        assert single_value(rows, "eps", schedule="cosine", epoch=epoch) == pytest.approx(cosine, abs=1e-12)
        assert single_value(rows, "eps", schedule="linear", epoch=epoch) == pytest.approx(min(0.4, 0.8 * p), abs=1e-12)
        assert single_value(rows, "eps", schedule="constant", epoch=epoch) == 0.4
    assert single_value(rows, "fraction_at_target", schedule="cosine") == pytest.approx(
        math.acos(-1 / 3) / math.pi, abs=2e-4
    )
    assert math.acos(-1 / 3) / math.pi == pytest.approx(0.6082, abs=5e-5)
    assert single_value(rows, "fraction_at_target", schedule="linear") == pytest.approx(0.5, abs=2e-4)


def test_periodic_budgets_fall_to_zero_at_every_reset() -> None:
    rows = schedules(**study_schedules("budgets_cifar10_periodic"))
    for epoch in range(200):
        begin, length = (0, 100) if epoch < 100 else (100, 50) if epoch < 150 else (150, 50)
        p = (epoch - begin) / length
        assert single_value(rows, "eps", schedule="linear", epoch=epoch) == pytest.approx(
            min(8, 16 * p) / 255, abs=1e-12
        )
    for schedule in ("cosine", "linear"):
        firsts = [r["value"] for r in rows if r["metric"] == "first_of_period" and r["schedule"] == schedule]
        assert firsts == [0, 0, 0]
        assert single_value(rows, "largest_fall", schedule=schedule) == 0
        assert single_value(rows, "largest", schedule=schedule) == pytest.approx(8 / 255)


def test_periodic_rates_return_and_fall() -> None:
    rows = schedules(**study_schedules("rates"))
    assert [r["value"] for r in rows if r["metric"] == "first_of_period" and r["schedule"] == "periodic"] == [0.1] * 3
    assert single_value(rows, "largest_rise", schedule="periodic") == 0
    assert single_value(rows, "learning_rate", schedule="periodic", epoch=50) == pytest.approx(0.01)
    drops = [single_value(rows, "learning_rate", schedule="constant with drops", epoch=e) for e in (99, 100, 149, 150)]
    assert drops == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_a_budget_is_the_same_throughout_an_epoch() -> None:
    schedule = load_experiment(CONFIG, "paper").recipes["liu2020_mnist_04-linear"].eps_schedule
    assert len({schedule_factor(schedule, (10 + step / 469) / 100, 100) for step in range(469)}) == 1
