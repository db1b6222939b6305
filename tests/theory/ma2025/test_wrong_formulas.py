"""Each check of ma2025 chapter 3 falls when the thing under test is replaced by something wrong."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from theory_checks import (
    Wrong,
    expect_every_check_to_fall,
    expect_noticed,
    single_value,
    times,
    wrong_names,
)

from robustscape.attacks.pgd import pgd
from robustscape.theory.ma2025 import _linear_toy, foar_duality, logistic_toy, passes, soar_bound
from robustscape.training.methods.adversarial import adversarial
from robustscape.training.methods.foar import foar
from robustscape.training.methods.soar import soar

#: Check -> sizes that make it fast.
SIZES: dict[str, dict[str, Any]] = {
    "linear_toy": {"seeds": 4, "penalties": [1.0], "eps_values": [0.1]},
    "matched_regulariser": {"problems": 3, "dimension": 6, "eps_values": [0.2], "steps": 4000},
    "soar_bound": {"problems": 60, "dimension": 4, "eps_values": [0.3], "draws": 5000},
    "concentration": {"draws": 5000, "matrices": 2},
    "logistic_toy": {"draws": 20},
    "foar_duality": {"draws": 50},
}


def with_first_moment(w: Any) -> Any:
    """The gradient as printed: E[X_1] in place of E[X_1^2]."""
    return _linear_toy.population_gradient(w) * _linear_toy.FIRST_MOMENT / _linear_toy.SECOND_MOMENT


def moving_every_weight(w: Any) -> Any:
    return (w - _linear_toy.true_weights(len(w))) * _linear_toy.SECOND_MOMENT


def attack_on_the_first_weight(w: Any, eps: float) -> Any:
    return eps * np.sign(w) * _linear_toy.true_weights(w.shape[-1])


def l2_attack(w: Any, eps: float) -> Any:
    step = eps * w / np.linalg.norm(w, axis=-1, keepdims=True)
    step[..., 0] = 0.0
    return step


def constant_attack(w: Any, eps: float) -> Any:
    return 0.1 * _linear_toy.attack_direction(w, 1.0)


def unit_weights(x: Any, w: Any) -> Any:
    return _linear_toy.point_loss(x, w / np.abs(w).max(-1, keepdims=True))


def euclidean(w: Any, eps: float, points: Any = None) -> float:
    norm = float(np.linalg.norm(w[1:]))
    return _linear_toy.population_loss(w, points=points) + eps * (w[0] - 1) * norm + 0.5 * eps**2 * norm**2


def without_the_middle_term(w: Any, eps: float, points: Any = None) -> float:
    return _linear_toy.population_loss(w, points=points) + 0.5 * eps**2 * float(np.abs(w[1:]).sum()) ** 2


def cubic_input_loss(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    residual = x @ w - x[0]
    return residual**2 / 2 + residual**3


def spectral_maximum(g: Any, hessian: Any, radius: float) -> float:
    """Beyond every bound: as if gradient and curvature were along one direction, and twice as large."""
    return float(2 * (np.linalg.norm(g) * radius + np.linalg.norm(hessian, 2) * radius**2))


#: As they are before they are replaced.
BOUND, SECOND_ORDER, LOGISTIC = soar_bound.bound, logistic_toy.second_order_maximum, logistic_toy.logistic_loss

WRONG = [
    Wrong("linear_toy", "population_gradient", with_first_moment, {"gradient", "ridge", "lasso"}),
    Wrong("linear_toy", "population_gradient", moving_every_weight, {"gradient", "limit", "pace of ridge"}),
    Wrong("linear_toy", "FIRST_MOMENT", _linear_toy.SECOND_MOMENT, {"printed gradient is wrong"}),
    Wrong("linear_toy", "SECOND_MOMENT", 20.0, {"largest rate"}),
    Wrong("linear_toy", "attack_direction", attack_on_the_first_weight, {"eq 3.1"}),
    Wrong("linear_toy", "attack_direction", l2_attack, {"eq 3.1", "slope in d"}),
    Wrong("linear_toy", "attack_direction", constant_attack, {"slope in eps"}),
    Wrong("linear_toy", "point_loss", unit_weights, {"slope in sigma"}),
    Wrong(
        "linear_toy",
        "expected_square_norm",
        lambda d, sigma: (2 / math.pi) * d**2 * sigma**2 / 2,
        {"mean square of the norm"},
    ),
    Wrong("linear_toy", "ridge_solution", lambda penalty: 1 / (1 + penalty), {"ridge"}),
    Wrong("linear_toy", "descend", lambda w, *_: np.concatenate([[1.0], w[1:]]), {"ridge is biased", "largest rate"}),
    Wrong("linear_toy", "lasso_solution", lambda penalty: 1.0, {"lasso"}),
    Wrong("linear_toy", "descend_lasso", lambda w, *_: w, {"lasso"}),
    Wrong("matched_regulariser", "robustified_loss", euclidean, {"eq 3.2", "second order"}),
    Wrong(
        "matched_regulariser",
        "robustified_loss",
        without_the_middle_term,
        {"eq 3.2", "first order", "second order", "needs variance"},
    ),
    Wrong("matched_regulariser", "attack_direction", lambda w, eps: 0 * w, {"eq 3.2", "signs of w(0) do not do"}),
    Wrong(
        "matched_regulariser",
        "population_loss",
        lambda w, *_: _linear_toy.robustified_loss(w, 0.2),
        {"signs of w(0) do not do"},
    ),
    Wrong("matched_regulariser", "input_loss", cubic_input_loss, {"first order", "second order", "derivatives"}),
    Wrong(
        "matched_regulariser", "descend_robustified", lambda w, *_: np.concatenate([[2 / 3], 0 * w[1:]]), {"no bias"}
    ),
    Wrong("soar_bound", "bound", lambda d, eps, norm: d * eps**2 / 2 * norm, {"corrected bound is met"}),
    Wrong(
        "soar_bound",
        "bound",
        lambda d, eps, norm: BOUND(d, eps, 0.5 * norm),
        {"corrected bound is met", "proposition 3.3.1, corrected", "corollary 3.3.2, corrected"},
    ),
    Wrong(
        "soar_bound",
        "bound",
        lambda d, eps, norm: BOUND(d, eps, math.sqrt(math.pi / 2) * norm),
        {"printed bound fails", "corrected bound is met"},
    ),
    Wrong("soar_bound", "rank_one_maximum", lambda a, eps: 0.0, {"printed bound fails", "corrected bound is met"}),
    Wrong("soar_bound", "ball_maximum", spectral_maximum, {"proposition 3.3.1, corrected"}),
    Wrong("soar_bound", "ball_maximum", lambda *_: -1e9, {"maximum over the ball"}),
    Wrong("soar_bound", "expansion", times(soar_bound.expansion, 3.0), {"eq 3.6", "corollary 3.3.2, corrected"}),
    Wrong("soar_bound", "augmented", lambda g, hessian: np.eye(len(g) + 1), {"eq 3.6"}),
    Wrong(
        "soar_bound",
        "product_norms",
        times(soar_bound.product_norms, 0.9),
        {"E||Hz||^2 = ||H||_F^2", "range of E||Hz||", "rank one"},
    ),
    Wrong(
        "soar_bound",
        "product_norms",
        lambda matrix, z: np.full(len(z), np.linalg.norm(matrix)) * (1 + 1e-3 * z[:, 0]),
        {"eq 3.8 fails", "rank one"},
    ),
    Wrong("concentration", "tail_bound", lambda distance, spectral: 0.0, {"concentration"}),
    Wrong("concentration", "tail_bound", lambda distance, spectral: 1.0, {"the bound itself (arithmetic)"}),
    Wrong(
        "concentration",
        "product_norms",
        times(soar_bound.product_norms, 3.0),
        {"concentration", "Lipschitz", "Lipschitz constant is reached"},
    ),
    Wrong(
        "logistic_toy",
        "derivatives",
        lambda x, w, y: (torch.sigmoid((x * w).sum(-1)) - y, 0 * y),
        {"derivatives", "mean value"},
    ),
    Wrong(
        "logistic_toy",
        "second_order_maximum",
        lambda x, w, y, eps: SECOND_ORDER(x, w, y, 0.9 * eps),
        {"second-order maximum"},
    ),
    Wrong(
        "logistic_toy",
        "second_order_maximum",
        lambda x, w, y, eps: LOGISTIC(x, w, y) + eps * w.norm(dim=-1),
        {"second-order maximum", "regulariser vanishes"},
    ),
    Wrong(
        "logistic_toy",
        "second_order_maximum",
        lambda x, w, y, eps: LOGISTIC(x, w, y),
        {"second-order maximum", "regulariser first rises"},
    ),
    Wrong(
        "logistic_toy",
        "logistic_loss",
        lambda x, w, y: torch.sigmoid(-(2 * y - 1) * (x * w).sum(-1)),
        {"derivatives", "masked loss"},
    ),
    Wrong(
        "logistic_toy",
        "logistic_loss",
        lambda x, w, y: 0.1 + ((x * w).sum(-1) - y) ** 2,
        {"derivatives", "safe points"},
    ),
    Wrong("foar_duality", "DUAL", {1.0: 1.0, 2.0: 2.0, math.inf: math.inf}, {"reached in the ball", "passed by none"}),
    Wrong("foar_duality", "first_order_maximum", times(foar_duality.first_order_maximum, 1.1), {"reached in the ball"}),
    Wrong(
        "foar_duality",
        "first_order_maximum",
        times(foar_duality.first_order_maximum, 0.5),
        {"reached in the ball", "passed by none"},
    ),
    Wrong("foar_duality", "maximiser", times(foar_duality.maximiser, 1.1), {"reached in the ball"}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=wrong_names(WRONG))
def test_a_wrong_formula_is_noticed(monkeypatch: pytest.MonkeyPatch, wrong: Wrong) -> None:
    expect_noticed(monkeypatch, "ma2025", wrong, SIZES[wrong.name])


@pytest.mark.parametrize("name", SIZES)
def test_every_check_falls_under_one_of_them(name: str) -> None:
    expect_every_check_to_fall("ma2025", name, WRONG, SIZES[name])


def test_the_printed_bound_has_the_numbers_of_the_specification() -> None:
    """At d = 3072: the maximum is 37.171, the printed bound 29.557."""
    norm = 3072 * 0.05**2 + 1
    assert soar_bound.rank_one_maximum(np.full(3072, 0.05), 0.05) == pytest.approx(37.171, abs=1e-3)
    assert soar_bound.bound(3072, 0.05, math.sqrt(2 / math.pi) * norm) == pytest.approx(29.557, abs=1e-3)


def test_the_maximum_over_the_ball_is_no_less_than_that_of_a_search() -> None:
    generator = np.random.default_rng(5)
    for _ in range(30):
        g, hessian = soar_bound.random_problem(3, generator)
        found = soar_bound.ball_maximum(g, hessian, 0.7)
        points = generator.standard_normal((20_000, 3))
        points *= 0.7 * generator.uniform(0.97, 1, (20_000, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
        best = soar_bound.expansion(g, hessian, points).max()
        assert best <= found + 1e-9 and found - best < 0.05 * max(abs(found), 0.1)


# -- table 3.5 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "steps", "forwards", "backwards"),
    [("standard", None, 1, 1), ("pgd_at", 10, 11, 11), ("foar", None, 1, 2), ("soar", None, 3, 4), ("trades", 3, 6, 4)],
)
def test_passes_are_counted(method: str, steps: int | None, forwards: int, backwards: int) -> None:
    rows = passes.passes()
    assert single_value(rows, "forward_passes", method=method, attack_steps=steps) == forwards
    assert single_value(rows, "backward_passes", method=method, attack_steps=steps) == backwards


def test_another_method_has_other_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def attacked_twice(model: Any, x: Any, y: Any, attack: Any) -> Any:
        return adversarial(model, attack(model, x, y), y, attack)

    wrong = {"soar": (partial(soar, init="zero"), None), "foar": (foar, None), "pgd_at": (attacked_twice, pgd)}
    monkeypatch.setattr(passes, "METHODS", wrong)
    rows = passes.passes(steps=[10])
    found = {(row["method"], row["metric"]): row["value"] for row in rows}
    assert found["soar", "forward_passes"] == 2 and found["foar", "backward_passes"] == 3
    assert found["pgd_at", "backward_passes"] == 21
