"""Each check of kim2023's chapters 4 and 5 falls when the thing under test is replaced by something wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from theory_checks import (
    Wrong,
    expect_every_check_to_fall,
    expect_noticed,
    times,
    wrong_names,
)

from robustscape.theory.kim2023 import _saddle_diffusion as diffusion
from robustscape.theory.kim2023 import _toys, corollary_5_2, theorem_5_1
from robustscape.theory.kim2023.corollary_5_2 import population_loss
from robustscape.theory.kim2023.theorem_4_2 import sam_field_jacobian

#: Check -> sizes that make it fast.
SIZES: dict[str, dict[str, Any]] = {
    "theorem_4_2": {"matrices": 4, "rhos": (0.3, 3.0)},
    "theorem_4_3": {"draws": 50_000},
    "corollary_4_4": {},
    "theorem_4_5": {},
    "theorem_5_1": {},
    "corollary_5_2": {"datasets": 60, "draws": 50_000},
}


def plus(function: Callable[..., Any], term: float) -> Callable[..., Any]:
    return lambda *arguments, **keywords: function(*arguments, **keywords) + term


def with_keywords(function: Callable[..., Any], **changes: Any) -> Callable[..., Any]:
    """The function, whatever it is asked, with some of its keywords changed."""
    return lambda *arguments, **keywords: function(*arguments, **{**keywords, **changes})


def negated_rho(eigenvalue: Any, t: Any, *, rho: Any = 0.0, **keywords: Any) -> Any:
    return diffusion.diffusion_variance(eigenvalue, t, rho=-rho, **keywords)


def falling_in_gamma(gamma: Any, *arguments: Any, **keywords: Any) -> Any:
    return diffusion.mean_squared_displacement(0.99 - gamma, *arguments, **keywords)


def of_a_valley(gamma: Any, eigenvalue: float, *arguments: Any, **keywords: Any) -> Any:
    return diffusion.mean_squared_displacement(gamma, abs(eigenvalue), *arguments, **keywords)


def readings_exchanged(*arguments: Any, printed: bool = False, **keywords: Any) -> Any:
    return diffusion.mean_squared_displacement(*arguments, printed=not printed, **keywords)


def jacobian_without_rho(loss: Any, point: torch.Tensor, rho: float) -> torch.Tensor:
    return sam_field_jacobian(loss, point, 0.0)


def every_saddle_attracts(loss: Any, point: torch.Tensor, rho: float) -> torch.Tensor:
    return -torch.eye(len(point), dtype=torch.float64)


def with_part_of_the_root(share: float) -> Callable[..., Any]:
    """The bound with another root: ``share`` times as large."""
    whole = theorem_5_1.pac_bayes_bound  # as it is before it is replaced
    return lambda loss, *arguments: loss + share * (whole(loss, *arguments) - loss)


def without_divergence(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    return loss + np.sqrt(np.log(samples / level) / (2 * (samples - 1)))


def without_logarithm(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    return loss + np.sqrt(divergence / (2 * (samples - 1)))


def of_twice_the_samples(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    return loss + np.sqrt((divergence + np.log(samples / level)) / (4 * (samples - 1)))


def of_half_the_samples(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    return loss + np.sqrt((divergence + np.log(samples / level)) / (samples - 1))


#: Right sides that are too small, or too large, everywhere.
WRONG_ROOTS = {
    "too small": [with_part_of_the_root(0.5), without_divergence, without_logarithm, of_twice_the_samples],
    "too large": [with_part_of_the_root(2.0), of_half_the_samples],
}


def least_loss_in_ball(x: Any, w: Any, radius: float) -> float:
    return float(corollary_5_2.sample_losses(w[None], x)[0])


WRONG = [
    Wrong("theorem_4_2", "sam_field_jacobian", jacobian_without_rho, {"Jacobian", "attractor", "at equality", "Beale"}),
    Wrong("theorem_4_2", "sam_field_jacobian", every_saddle_attracts, {"attractor", "closest to 0 binds"}),
    Wrong("theorem_4_2", "beale_hessian", times(_toys.beale_hessian, 1.1), {"Beale"}),
    Wrong("theorem_4_2", "quadratic_gradient", lambda x, y: (2 * x, 2 * y), {"x^2 - y^2"}),
    Wrong("theorem_4_2", "sam_path", with_keywords(_toys.sam_path, radius=0.0), {"x^2 - y^2", "normalised radius"}),
    Wrong("theorem_4_2", "sam_path", with_keywords(_toys.sam_path, rule="constant", radius=0.6), {"normalised radius"}),
    Wrong(
        "theorem_4_3",
        "_sam_gradient",
        lambda eigenvalue, rho: float(eigenvalue * (1 + rho * eigenvalue) ** 2),
        {"power 1", "SAM is not power 2"},
    ),
    Wrong(
        "theorem_4_3",
        "diffusion_variance",
        times(diffusion.diffusion_variance, 1.1),
        {"SGD", "power 1", "power 2", "eigenbasis", "differential equation"},
    ),
    Wrong(
        "theorem_4_3",
        "drift_coefficient",
        lambda eigenvalue, rho, power: eigenvalue * (1 + rho * eigenvalue),
        {"power 2", "attraction"},
    ),
    Wrong("corollary_4_4", "diffusion_variance", negated_rho, {"SAM is slower", "approximation", "grows with rho"}),
    Wrong(
        "corollary_4_4",
        "diffusion_variance",
        with_keywords(diffusion.diffusion_variance, power=1),
        {"approximation", "limit of power 2"},
    ),
    Wrong("theorem_4_5", "inertial_term_slope", times(diffusion.inertial_term_slope, -1.0), {"derivative of h"}),
    Wrong("theorem_4_5", "inertial_term", times(diffusion.inertial_term, 1.01), {"derivative of h"}),
    Wrong("theorem_4_5", "mean_squared_displacement", falling_in_gamma, {"rises with momentum", "limit"}),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        with_keywords(diffusion.mean_squared_displacement, batch=1),
        {"C2 = t / eta is the proof's"},
    ),
    Wrong("theorem_4_5", "mean_squared_displacement", of_a_valley, {"no limit for lambda < 0"}),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        readings_exchanged,
        {"C2 = t / eta is the proof's", "first term vanishes with C2 = eta / t"},
    ),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        with_keywords(diffusion.mean_squared_displacement, printed=False),
        {"C2 = eta / t is not", "first term vanishes with C2 = eta / t"},
    ),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        with_keywords(diffusion.mean_squared_displacement, printed=True),
        {"C2 = t / eta is the proof's", "with C2 = t / eta it does not agree"},
    ),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        with_keywords(diffusion.mean_squared_displacement, power=1),
        {"power 2, as printed, does not"},
    ),
    Wrong(
        "theorem_4_5",
        "mean_squared_displacement",
        with_keywords(diffusion.mean_squared_displacement, power=2),
        {"first term vanishes with C2 = eta / t"},
    ),
    Wrong(
        "theorem_4_5",
        "displacement_constants",
        with_keywords(diffusion.displacement_constants, power=2),
        {"second term alone agrees with SAM"},
    ),
    Wrong(
        "theorem_4_5",
        "simulate_momentum_displacement",
        lambda eigenvalue, gammas, **_: np.ones(len(gammas)),
        {"simulation", "simulation rises"},
    ),
    Wrong(
        "theorem_4_5",
        "simulate_momentum_displacement",
        times(diffusion.simulate_momentum_displacement, 1.1),
        {"simulation"},
    ),
    Wrong(
        "theorem_4_5",
        "simulate_momentum_displacement",
        with_keywords(diffusion.simulate_momentum_displacement, rho=0.0),
        {"simulation"},
    ),
    Wrong("theorem_5_1", "gaussian_kl", times(theorem_5_1.gaussian_kl, 1.2), {"KL of Gaussians"}),
    Wrong("theorem_5_1", "pac_bayes_bound", lambda loss, *_: loss, {"PAC-Bayes"}),
    Wrong("theorem_5_1", "pac_bayes_bound", plus(theorem_5_1.pac_bayes_bound, 1.0), {"PAC-Bayes"}),
    *(Wrong("theorem_5_1", "pac_bayes_bound", root, {"PAC-Bayes, any posterior"}) for root in WRONG_ROOTS["too small"]),
    *(Wrong("theorem_5_1", "pac_bayes_bound", root, {"PAC-Bayes is nearly met"}) for root in WRONG_ROOTS["too large"]),
    *(
        Wrong("corollary_5_2", "pac_bayes_bound", root, {"root is theorem 5.1's"})
        for roots in WRONG_ROOTS.values()
        for root in roots
    ),
    Wrong("corollary_5_2", "gaussian_kl", times(theorem_5_1.gaussian_kl, 1.2), {"root is theorem 5.1's"}),
    Wrong("corollary_5_2", "tail_threshold", times(corollary_5_2.tail_threshold, 0.5), {"tail lemma"}),
    Wrong("corollary_5_2", "tail_threshold", times(corollary_5_2.tail_threshold, 2.0), {"tail lemma is not loose"}),
    Wrong(
        "corollary_5_2",
        "two_radius_losses",
        lambda near, far, shares: 0 * shares,
        {"bound", "eq 5.15", "falls with lambda"},
    ),
    Wrong("corollary_5_2", "worst_loss_in_ball", least_loss_in_ball, {"eq 5.15", "falls with lambda"}),
    Wrong("corollary_5_2", "pac_bayes_bound", lambda loss, *_: loss - 0.2, {"bound"}),
    Wrong("corollary_5_2", "pac_bayes_bound", plus(theorem_5_1.pac_bayes_bound, 1.0), {"bound says something"}),
    Wrong("corollary_5_2", "sample_losses", plus(corollary_5_2.sample_losses, 0.3), {"loss at w is no bound"}),
    Wrong(
        "corollary_5_2",
        "population_loss",
        lambda w, noise=0.0: population_loss(w) - noise,
        {"assumption"},
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=wrong_names(WRONG))
def test_a_wrong_formula_is_noticed(monkeypatch: pytest.MonkeyPatch, wrong: Wrong) -> None:
    expect_noticed(monkeypatch, "kim2023", wrong, SIZES[wrong.name])


@pytest.mark.parametrize("name", SIZES)
def test_every_check_falls_under_one_of_them(name: str) -> None:
    expect_every_check_to_fall("kim2023", name, WRONG, SIZES[name])
