"""The parts that the checks of chapter 4's linear regression share: transform, partitions, closed forms, drawn samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    a_and_b,
    adversarial_risk,
    dct_matrix,
    descent_error,
    to_frequency,
    to_spatial,
)
from robustscape.theory.ma2025._region_rows import cell_points, run_rows
from robustscape.theory.ma2025._sign_descent import descend_to_oscillation, descent_before_oscillation, errors_of
from robustscape.theory.ma2025._sign_partitions import growth_partition, stationary_partition
from robustscape.theory.ma2025.four_optimizers import OPTIMIZERS, closed_forms, sampled_moments, train_optimizers
from robustscape.theory.ma2025.irrelevant_weight_growth import predicted_ratio

S = np.array([1.0, 0.25, 0.0])


@pytest.mark.parametrize("d", [1, 2, 3, 8, 28])
def test_the_transform_is_that_of_equation_4_4(d: int) -> None:
    k, j = np.mgrid[:d, :d]
    expected = np.sqrt(np.where(k == 0, 1, 2) / d) * np.cos(math.pi / d * (j + 0.5) * k)
    np.testing.assert_allclose(dct_matrix(d), expected, atol=1e-12)
    np.testing.assert_allclose(dct_matrix(d) @ dct_matrix(d).T, np.eye(d), atol=1e-12)


def test_three_frequencies_and_both_ways() -> None:
    r2, r3, r6 = math.sqrt(2), math.sqrt(3), math.sqrt(6)
    expected = [[1 / r3, 1 / r3, 1 / r3], [1 / r2, 0, -1 / r2], [1 / r6, -2 / r6, 1 / r6]]
    np.testing.assert_allclose(dct_matrix(3), expected, atol=1e-12)
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_allclose(to_frequency(x), (np.array(expected) @ x.T).T, atol=1e-12)
    np.testing.assert_allclose(to_spatial(to_frequency(x)), x, atol=1e-12)


def test_the_shared_matrix_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        dct_matrix(3)[0, 0] = 1.0


def test_the_adversarial_risk_has_the_worked_number_of_figure_4_7() -> None:
    """Gradient descent after 200,000 iterations: w~ = (5, 9.9326, 0.02) and R_a = 123.70 at eps = sqrt(2)."""
    s, target = np.array([0.01, 0.0025, 0.0]), np.array([5.0, 10.0, 0.0])
    error = descent_error(np.array([0.01, -0.01, 0.02]) - target, s, 0.01, 200_000)
    np.testing.assert_allclose(error + target, [5.0, 9.9326, 0.02], atol=1e-4)
    assert float(adversarial_risk(error, target, s, math.sqrt(2))) == pytest.approx(123.70, abs=0.005)


def test_a_and_b_and_back() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 7))
    for found, expected in zip(a_and_b(errors_of(a, b, S), S), (a, b), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


# -- partitions --------------------------------------------------------------------------------------------------------


def named(masks: dict[str, Array]) -> set[str]:
    return {label for label, mask in masks.items() if mask.item()}


@pytest.mark.parametrize(
    ("a", "b", "label"),
    [
        (0.8, 0.9, "R11"),
        (-0.8, 0.5, "R12"),
        (0.5, -0.6, "R21"),
        (0.5, 0.3, "R22"),
        (-0.5, 0.3, "R22"),
        (0.6, 0.5, "R23"),
        (-0.2, 0.1, "R31"),
        (0.2, 2.1, "R32"),
        (0.2, -3.9, "R32"),
        (0.1, 1.1, "R33"),
        (0.1, -2.9, "R33"),
        (0.1, 0.5, "R34"),
        (-0.3, 0.9, "R34"),
    ],
)
def test_points_near_the_optimum(a: float, b: float, label: str) -> None:
    """At s_0 = s_1 = eta = 1, from the definitions; the same in other units."""
    assert named(stationary_partition(np.array(a), np.array(b), np.array([1.0, 1.0, 0.0]), 1.0)) == {label}
    assert named(stationary_partition(np.array(a) / 50, np.array(b) / 50, np.array([2.0, 2.0, 0.0]), 0.01)) == {label}


@pytest.mark.parametrize(
    ("a", "b", "s_1", "labels"),
    [
        (0.9, 5.0, 1.0, {"P1"}),
        (4.0, 0.5, 1.0, {"P2"}),
        (2.0, 5.0, 1.0, {"P3"}),
        (2.5, 5.4, 1.0, {"P4"}),
        (2.0, 4.2, 1.0, {"P3"}),
        (1.2, 1.7, 1.0, {"P3", "P31"}),
        (1.9, 1.2, 1.0, {"P4", "P41"}),
        (2.4, 2.3, 1.0, {"P4", "P42"}),
        (5.0, 2.0, 1.0, {"P4"}),
        (2.0, 3.0, 0.2, {"P5"}),
        (3.0, 2.0, 0.2, {"P6"}),
        (3.0, 0.5, 0.2, {"P2"}),
    ],
)
def test_points_before(a: float, b: float, s_1: float, labels: set[str]) -> None:
    assert named(growth_partition(np.array(a), np.array(b), np.array([1.0, s_1, 0.0]), 1.0)) == labels


def test_runs_are_the_cells_of_the_grid() -> None:
    """Every cell is in one run, with the first of its labels."""
    masks = {"one": np.array([[True, True, False, False]] * 2), "two": np.array([[False, True, True, False]] * 2)}
    rows = run_rows("panel", masks, (0.0, 4.0), (0.0, 1.0))
    assert [(r["label"], r["x"], r["dx"], r["y"]) for r in rows[:2]] == [
        ("one", 0.0, 2.0, 0.25),
        ("two", 2.0, 1.0, 0.25),
    ]
    assert len(rows) == 4 and rows[2]["y"] == 0.75
    points = cell_points(-1.0, 1.0, 4)
    assert ((points - [-1.0, -0.5, 0.0, 0.5]) > 0).all() and ((points - [-0.5, 0.0, 0.5, 1.0]) < 0).all()


# -- simulations -------------------------------------------------------------------------------------------------------


def test_a_descent_is_counted_step_by_step() -> None:
    """A = 2.5, B = 1.2 at eta = 1: one step with |A| > |B| to A = 1.5, and another one to A = 0.5; from B = 4 all count."""
    s = np.array([1.0, 0.1, 0.0])
    found = descend_to_oscillation(errors_of(np.array([2.5, 2.5, 0.5]), np.array([1.2, 4.0, 9.0]), s), s, 1.0)
    assert found.steps.tolist() == [2, 5, 0] and found.growing.tolist() == [0, 5, 0]
    np.testing.assert_allclose(found.drift, [0, 5 * math.sqrt(6) / 3, 0], atol=1e-12)


def test_a_descent_that_does_not_end_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no oscillation after 3 steps"):
        descend_to_oscillation(errors_of(np.array([9.0]), np.array([1.2]), S), S, 1.0, limit=3)


def test_the_closed_form_before_oscillation() -> None:
    """A = -4.6, B = 2.2: three steps of sqrt(3) until |A| < |B|, then eta / sqrt(3), sqrt(2) and -sqrt(6)/3 each."""
    s = np.array([1.0, 0.1, 0.0])
    start = errors_of(np.array(-4.6), np.array(2.2), s)
    found = descent_before_oscillation(start, s, 1.0, np.arange(5)) - start
    r2, r3, r6 = math.sqrt(2), math.sqrt(3), math.sqrt(6)
    expected = [[0, 0, 0], [r3, 0, 0], [2 * r3, 0, 0], [3 * r3, 0, 0], [3 * r3 + 1 / r3, -r2, -r6 / 3]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_drawn_moments_are_those_of_drawn_samples() -> None:
    """Mean and variances of the entries of X^T X / n, against inputs that are drawn one by one."""
    s, samples, draws = np.array([1.0, 0.25, 0.0]), 5, 40_000
    found = sampled_moments(s, samples, draws, np.random.default_rng(0))
    x = to_spatial(np.random.default_rng(1).standard_normal((draws, samples, 3)) * np.sqrt(s))
    expected = x.transpose(0, 2, 1) @ x / samples
    for statistic in (np.mean, np.var):
        np.testing.assert_allclose(statistic(found, axis=0), statistic(expected, axis=0), rtol=0.05, atol=0.01)
    assert np.abs(to_frequency(to_frequency(found).transpose(0, 2, 1))[:, 2]).max() < 1e-12


def test_training_follows_the_closed_forms() -> None:
    """Gradient descent and signGD with the gradient of the population, within 1e-6, up to where the forms reach."""
    s, start = np.array([0.01, 0.0025, 0.0]), np.array([-4.99, -10.01, 0.02])
    moments = sampled_moments(s, 1000, 1200, np.random.default_rng(0))
    path = to_frequency(train_optimizers(to_spatial(start), s, moments, 0.01))
    forms = closed_forms(path, s, 0.01)
    assert {name: len(form) for name, form in forms.items()} == {"gd": 1201, "signgd": 639}
    for name, form in forms.items():
        np.testing.assert_allclose(path[: len(form), 0, OPTIMIZERS.index(name)], form, rtol=0, atol=1e-6)
        assert (
            np.abs(path[: len(form), 1, OPTIMIZERS.index(name)] - form).max() > 1e-4
        )  # samples are not the population


def test_the_predicted_ratio_is_the_printed_interval() -> None:
    """[1.04, 1.15] in the work, with C_4 from 3/4 to 3 times (s_1/s_0)^2; C_3 from 1/2 to 2 on the other side."""
    target, s = np.array([5.0, 10.0, 0.0]), np.array([0.01, 0.0025, 0.0])
    assert predicted_ratio(target, s, "A") == pytest.approx((1.0375, 1.15))
    assert predicted_ratio(target, s, "B") == pytest.approx((1.1, 1.4))
