"""Each check of ma2025's linear regression (chapter 4) falls when the thing under test is replaced by something wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from theory_checks import (
    Wrong,
    expect_every_check_to_fall,
    expect_noticed,
    times,
    wrong_names,
)

from robustscape.theory.ma2025 import _frequency_regression as regression
from robustscape.theory.ma2025 import _sign_descent as descent
from robustscape.theory.ma2025 import gradient_descent_limit, irrelevant_weight_growth, linear_adversary

#: Check -> sizes that make it fast.
SIZES: dict[str, dict[str, Any]] = {
    "linear_adversary": {"problems": 2, "draws": 400, "eps_values": [1.0]},
    "gradient_descent_limit": {"problems": 2, "draws": 300, "sizes": [3, 32]},
    "sign_descent_oscillation": {"ratios": [0.25, 1.0], "starts": 400, "steps": 300},
    "irrelevant_weight_growth": {"ratios": [0.25, 1.0], "starts": 300},
    "spatial_redundancy": {"problems": 5},
}


def printed_perturbation(x: Any, w: Any, target: Any, eps: float) -> Any:
    """With sign(0) = 0, as (4.8) is printed: none at a minimiser."""
    return eps * np.sign(x @ (w - target))[..., None] * w / np.linalg.norm(w)


def without_the_middle_term(error_f: Any, target_f: Any, s: Any, eps: float) -> Any:
    return regression.standard_risk(error_f, s) + eps**2 / 2 * ((error_f + target_f) ** 2).sum(-1)


def with_the_relevant_norm(error_f: Any, target_f: Any, s: Any, eps: float) -> Any:
    return RISK(np.where(s > 0, error_f, -target_f), target_f, s, eps)


def gradient_with_decay(error: Any, s: Any) -> Any:
    return regression.population_gradient(error, s) + 0.1 * error


def one_step_behind(start_f: Any, s: Any, rate: float, steps: Any) -> Any:
    return FORM(start_f, s, rate, np.maximum(np.asarray(steps) - 1, 0))


def at_rest(error: Any, s: Any, rate: float, steps: int) -> Any:
    return np.stack([error] * (steps + 1))


def step_of_gradient_descent(error: Any, s: Any, rate: float) -> Any:
    return error - 0.1 * regression.population_gradient(error, s)


def step_with_the_other_sign(a: Any, b: Any) -> Any:
    return regression.sign_step(a, b) * np.array([1.0, 1.0, -1.0])


def early(error: Any, s: Any, rate: float, steps: int) -> Any:
    return descent.iterate_steps(error, s, rate, 2)


def counting(**changes: float) -> Callable[..., Any]:
    """The descent with a number added to some of its counts."""

    def wrong(start_f: Any, s: Any, rate: float) -> descent.Descent:
        found = descent.descend_to_oscillation(start_f, s, rate)
        return found._replace(**{name: getattr(found, name) + more for name, more in changes.items()})

    return wrong


def without_the_first_part(start_f: Any, s: Any, rate: float, when: Any) -> Any:
    """As if |A| were below |B| from the start."""
    a, b = regression.a_and_b(start_f, s)
    moved = np.array([-np.sign(a) / math.sqrt(3), -np.sign(b) * math.sqrt(2), np.sign(a) * math.sqrt(6) / 3])
    return start_f + rate * np.asarray(when)[:, None] * moved


#: As they are before they are replaced.
PERTURBATION, RISK, FORM, LEADING = (
    regression.worst_perturbation,
    regression.adversarial_risk,
    regression.descent_error,
    irrelevant_weight_growth.leading_drift,
)
INTEGRAL, DRIFT, RATIO = (
    linear_adversary.integrated_risk,
    irrelevant_weight_growth.weight_moved,
    irrelevant_weight_growth.predicted_ratio,
)

WRONG = [
    Wrong("linear_adversary", "worst_perturbation", times(PERTURBATION, -1.0), {"eq 4.8", "eq 4.9"}),
    Wrong("linear_adversary", "worst_perturbation", times(PERTURBATION, 2.0), {"eq 4.8", "eq 4.9", "eq 4.10"}),
    Wrong("linear_adversary", "worst_perturbation", printed_perturbation, {"eq 4.10"}),
    Wrong("linear_adversary", "adversarial_risk", without_the_middle_term, {"eq 4.9"}),
    Wrong("linear_adversary", "adversarial_risk", with_the_relevant_norm, {"eq 4.9", "eq 4.6"}),
    Wrong("linear_adversary", "integrated_risk", times(INTEGRAL, 1.001), {"eq 4.9"}),
    Wrong("linear_adversary", "minimiser_risk", times(regression.minimiser_risk, 0.5), {"eq 4.10"}),
    Wrong("linear_adversary", "standard_risk", lambda error_f, s: (error_f**2).sum(-1), {"eq 4.10"}),
    Wrong("linear_adversary", "to_spatial", times(regression.to_spatial, 1.1), {"both domains", "eq 4.8"}),
    Wrong(
        "linear_adversary",
        "ascend_loss",
        lambda x, start, w, target, eps: PERTURBATION(x, w, target, eps),
        {"one start does not do"},
    ),
    Wrong("linear_adversary", "ascend_loss", lambda x, start, w, target, eps: 0 * x, {"eq 4.8"}),
    Wrong(
        "gradient_descent_limit",
        "population_gradient",
        times(regression.population_gradient, 0.5),
        {"gradient", "eq 4.12"},
    ),
    Wrong(
        "gradient_descent_limit",
        "population_gradient",
        gradient_with_decay,
        {"gradient", "eq 4.12", "irrelevant weights stay", "eq 4.13", "mean of eq 4.13", "grows with d"},
    ),
    Wrong("gradient_descent_limit", "descent_error", one_step_behind, {"eq 4.12"}),
    Wrong("gradient_descent_limit", "descent_path", at_rest, {"eq 4.12", "limit", "largest rate", "eq 4.13"}),
    Wrong("gradient_descent_limit", "adversarial_risk", times(RISK, 1.1), {"eq 4.13", "mean of eq 4.13"}),
    Wrong("sign_descent_oscillation", "sign_step", step_with_the_other_sign, {"eq 4.16"}),
    Wrong(
        "sign_descent_oscillation",
        "iterate_steps",
        early,
        {"prop 4.D.3", "remark 4.D.5, corrected", "eq 4.24", "prop 4.D.4, late"},
    ),
    Wrong(
        "sign_descent_oscillation",
        "iterate_steps",
        lambda error, *_: 0 * error,
        {"prop 4.D.3 is reached", "remark 4.D.5 is reached"},
    ),
    Wrong("sign_descent_oscillation", "spatial_step", step_of_gradient_descent, {"eq 4.16", "prop 4.D.4, late"}),
    Wrong(
        "sign_descent_oscillation",
        "descend_to_oscillation",
        counting(drift=-0.02),
        {"eq 4.22, corrected"},
    ),
    Wrong("sign_descent_oscillation", "drift_after_oscillation", lambda *_: 0.0, {"eq 4.22 is reached"}),
    Wrong("sign_descent_oscillation", "spatial_step", step_of_gradient_descent, {"corollary 4.D.6"}),
    Wrong("sign_descent_oscillation", "descend_to_oscillation", counting(steps=-1.0), {"corollary 4.D.6"}),
    Wrong("sign_descent_oscillation", "sign_imbalance", lambda *_: 1.0, {"corollary 4.D.6 is reached"}),
    Wrong("sign_descent_oscillation", "standard_risk", times(regression.standard_risk, 10.0), {"eq 4.24"}),
    Wrong(
        "irrelevant_weight_growth",
        "descend_to_oscillation",
        counting(growing=5.0),
        {*(f"prop 4.D.7, P{n}" for n in (1, 2, 3, 4, 5, 6)), "eq 4.27"},
    ),
    Wrong(
        "irrelevant_weight_growth",
        "descend_to_oscillation",
        counting(growing=-5.0),
        {*(f"prop 4.D.7, P{n}" for n in (1, 2, 3, 4, 5, 6)), "eq 4.27"},
    ),
    Wrong(
        "irrelevant_weight_growth",
        "descend_to_oscillation",
        counting(steps=3.0),
        {"prop 4.D.7, P1", "prop 4.D.7, P3", "prop 4.D.7, P5", "T from P5"},
    ),
    Wrong("irrelevant_weight_growth", "weight_moved", times(DRIFT, 0.5), {"eq 4.27"}),
    Wrong("irrelevant_weight_growth", "leading_drift", times(LEADING, 0.5), {"prop 4.D.8"}),
    Wrong("irrelevant_weight_growth", "descent_before_oscillation", without_the_first_part, {"path before T"}),
    Wrong("irrelevant_weight_growth", "spatial_step", step_of_gradient_descent, {"path before T"}),
    Wrong("irrelevant_weight_growth", "predicted_ratio", lambda *_: (RATIO(*_)[0],) * 2, {"eq 4.19"}),
    Wrong(
        "spatial_redundancy",
        "covariance",
        lambda s: regression.covariance(s) + 0.1 * np.eye(3),
        {"rank of Sigma", "a redundant dimension", "every dimension"},
    ),
    Wrong("spatial_redundancy", "covariance", lambda s: np.ones((3, 3)), {"rank of Sigma", "no redundancy without"}),
    Wrong("spatial_redundancy", "standard_risk", lambda error_f, s: (error_f**2).sum(-1), {"other minimisers"}),
    Wrong("spatial_redundancy", "to_spatial", times(regression.to_spatial, 2.0), {"norm of other minimisers"}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=wrong_names(WRONG))
def test_a_wrong_formula_is_noticed(monkeypatch: pytest.MonkeyPatch, wrong: Wrong) -> None:
    expect_noticed(monkeypatch, "ma2025", wrong, SIZES[wrong.name])


@pytest.mark.parametrize("name", SIZES)
def test_every_check_falls_under_one_of_them(name: str) -> None:
    expect_every_check_to_fall("ma2025", name, WRONG, SIZES[name])


def test_autodiff_is_not_the_formula_under_test() -> None:
    """The expected gradient knows nothing of Sigma: it is the derivative of the risk itself, by small differences too."""
    s, error = np.array([0.7, 0.3, 0.0]), np.array([0.4, -1.2, 2.0])
    found = gradient_descent_limit.autodiff_gradient(error, s)
    for j in range(3):
        shift = 1e-4 * np.eye(3)[j]
        ends = [regression.standard_risk(regression.to_frequency(error + side * shift), s) for side in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(found[j], abs=1e-8)
