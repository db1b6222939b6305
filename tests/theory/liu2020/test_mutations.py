"""Every check of liu2020, and every claim about a theorem or a toy, falls when the thing under test is replaced."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from theory_checks import failing_checks

from robustscape import catalog
from robustscape.claims.checks import tally
from robustscape.claims.verdicts import claim_verdict
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Schedule
from robustscape.report import items
from robustscape.report.sources import source_rows
from robustscape.report.words import FAILS, HOLDS
from robustscape.theory.liu2020 import _linear_model as linear
from robustscape.theory.liu2020 import _scalar_toy as toy
from robustscape.theory.liu2020.convergence import convergence
from robustscape.theory.liu2020.directions import directions
from robustscape.theory.liu2020.smoothness import smoothness

ROOT = Path(__file__).parents[3]
HERE = "robustscape.theory.liu2020"
Array = NDArray[np.float64]
Replacement = tuple[str, Any]

#: Sizes that keep every verdict and save time.
SIZES: dict[str, dict[str, Any]] = {
    "linear_sets": {"draws": 50_000},
    "directions": {"draws": 100, "eps_values": [0.0, 0.2, 0.7]},
    "smoothness": {"draws": 2000},
    "convergence": {"steps": 2000, "draws": 16},
}

# -- wrong versions ---------------------------------------------------------------------------------------------------------


def no_direction(x: Array, weights: Array, *_: Any, **__: Any) -> linear.Mask:
    return np.zeros(len(weights), dtype=bool)


def every_direction(x: Array, weights: Array, *_: Any, **__: Any) -> linear.Mask:
    return np.ones(len(weights), dtype=bool)


def any_direction(x: Array, weights: Array, eps: float, **_: Any) -> linear.Mask:
    """A coin for each direction, another one for every eps."""
    return np.random.default_rng(int(1000 * eps)).random(len(weights)) < 0.5


def good_by_another_norm(x: Array, weights: Array, eps: float) -> linear.Mask:
    difference = linear.class_differences(weights)
    return np.all(difference @ x + eps * np.linalg.norm(difference, axis=-1) <= 0, axis=1)


def clean_losses(x: Array, weights: Array, eps: float) -> Array:
    return linear.linear_model_losses(x[None], weights)[:, 0]


def best_corner_losses(x: Array, weights: Array, eps: float) -> Array:
    return linear.linear_model_losses(linear.box_corners(x, eps), weights).min(1)


def losses_that_do_not_vanish(x: Array, weights: Array, eps: float) -> Array:
    return linear.linear_model_losses(linear.box_corners(x, eps), weights).max(1) + 0.1


def constants(theta: float = 1.0, theta_theta: float = 1.0, theta_x: float = 1.0) -> Replacement:
    """The Lipschitz constants, each times a factor."""
    original = toy.lipschitz_constants

    def wrong(eps: float) -> tuple[float, float, float]:
        found = original(eps)
        return found[0] * theta, found[1] * theta_theta, found[2] * theta_x

    return f"{HERE}._scalar_toy.lipschitz_constants", wrong


def loss_without_adversary(theta: Array, eps: float | Array) -> Array:
    return np.logaddexp(0.0, theta)


def slope_without_adversary(theta: Array, eps: float | Array) -> Array:
    return toy.sigmoid(theta) + 0.0 * eps


LINEAR = f"{HERE}._linear_model"
TOY = f"{HERE}._scalar_toy"
BOUND = f"{HERE}.convergence.probability_bound"

#: check, what is replaced by what, the statements that must fall
MUTATIONS: list[tuple[Callable[..., list[dict[str, Any]]], Replacement, set[str]]] = [
    (directions, (f"{LINEAR}.is_good_direction", no_direction), {"V closed form"}),
    (directions, (f"{LINEAR}.is_good_direction", every_direction), {"V closed form"}),
    (directions, (f"{LINEAR}.is_good_direction", any_direction), {"V closed form", "P1 nested", "V is a convex cone"}),
    (directions, (f"{LINEAR}.is_good_direction", good_by_another_norm), {"V closed form"}),
    (directions, (f"{LINEAR}.is_bad_direction", no_direction), {"T closed form", "T2 everything is bad"}),
    (directions, (f"{LINEAR}.is_bad_direction", every_direction), {"T closed form", "T2 eps_bar is sharp"}),
    (directions, (f"{LINEAR}.is_bad_direction", any_direction), {"T closed form", "T1 nested", "T2 everything is bad"}),
    (directions, (f"{LINEAR}.worst_corner_losses", clean_losses), {"T closed form", "T2 everything is bad"}),
    (directions, (f"{LINEAR}.worst_corner_losses", best_corner_losses), {"g is convex in W"}),
    (directions, (f"{LINEAR}.worst_corner_losses", losses_that_do_not_vanish), {"P2 vanishes"}),
    (smoothness, (f"{TOY}.adversarial_loss", loss_without_adversary), {"closed form", "kink"}),
    (smoothness, (f"{TOY}.adversarial_slope", slope_without_adversary), {"not Lipschitz"}),
    (smoothness, constants(theta=0.5), {"constants", "first order"}),
    (smoothness, constants(theta=2.0), {"constants"}),
    (smoothness, constants(theta_theta=0.5), {"constants", "second order"}),
    (smoothness, constants(theta_theta=2.0), {"constants"}),
    (smoothness, constants(theta_x=0.0), {"constants", "second order", "kink"}),
    (smoothness, constants(theta_x=2.0), {"constants"}),
    (
        convergence,
        (f"{HERE}.convergence.step_size", lambda curvature, steps: 0.0),
        {"probability bound", "no vanishing"},
    ),
    (convergence, (f"{HERE}.convergence.step_size", lambda curvature, steps: 1 / steps), {"probability bound"}),
    (
        convergence,
        (f"{HERE}.convergence.step_size", lambda curvature, steps: -0.01),
        {"probability bound", "vanishing"},
    ),
    (convergence, (f"{TOY}.adversarial_slope", slope_without_adversary), {"no vanishing"}),
    (convergence, constants(theta_x=0.02), {"probability bound"}),
    (convergence, constants(theta_x=10.0), {"not vacuous"}),
    (convergence, (BOUND, lambda gamma: 0.0), {"probability bound", "bound allowed by descent"}),
    (convergence, (BOUND, lambda gamma: 1.0), {"bound from gamma 2 on"}),
    (convergence, (BOUND, lambda gamma: 2 / (gamma**2 - 2 * gamma + 4)), {"bound from gamma 2 on"}),
    (convergence, (BOUND, lambda gamma: 4 / (gamma**2 + 2 * gamma + 4)), {"bound from gamma 2 on"}),
    (convergence, (BOUND, lambda gamma: 2 / gamma**3), {"bound allowed by descent", "bound from gamma 2 on"}),
    (convergence, (BOUND, lambda gamma: 8 / gamma**3), {"bound allowed by descent"}),
]


@pytest.mark.parametrize("number", range(len(MUTATIONS)))
def test_a_wrong_version_is_noticed(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check, replacement, statements = MUTATIONS[number]
    monkeypatch.setattr(*replacement)
    assert statements <= failing_checks(check(**SIZES[check.__name__]))


@pytest.mark.parametrize("check", [directions, smoothness, convergence])
def test_every_statement_holds_and_is_seen_to_fall(check: Callable[..., list[dict[str, Any]]]) -> None:
    rows = check(**SIZES[check.__name__])
    assert not failing_checks(rows)
    assert {row["check"] for row in rows} == set().union(*(seen for other, _, seen in MUTATIONS if other is check))


@pytest.mark.parametrize("gamma", [3, 4, 6])
def test_no_probability_bound_holds_without_descent(gamma: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every single row can fail: a trajectory that stays at its start is above every threshold."""
    monkeypatch.setattr(f"{HERE}.convergence.step_size", lambda curvature, steps: 0.0)
    found = convergence(**SIZES["convergence"])
    rows = [row for row in found if row["check"] == "probability bound" and row["gamma"] == gamma]
    assert rows and not any(row["holds"] for row in rows)


# -- claims -------------------------------------------------------------------------------------------------------------------


@functools.cache
def experiment() -> Experiment:
    return load_experiment(ROOT / "config", "small")


def verdicts(name: str, folder: Path) -> dict[str, str]:
    """Claim -> verdict of an item that is made of theory only, computed anew."""
    study, frames = experiment().studies["liu2020"], []
    item = study.items[name]
    for source in item.rows:
        entry = study.theory[source.of]
        rows = pd.DataFrame(
            catalog.load_function("theory", entry.check)(**{**entry.parameters, **SIZES.get(source.of, {})})
        )
        frames.append(source_rows(rows if "metric" in rows else tally(rows), source, item.factors, {}, None))
    whole = items.select_metrics(pd.concat(frames, ignore_index=True), item.factors, item.metrics)
    items.aggregate_repetitions(whole, item.factors).to_csv(folder / "item.csv", index=False)
    rows = items.read_rows(folder / "item.csv")
    return {claim.id: claim_verdict(claim, rows, item.factors, "small")[0] for claim in item.claims}


def fixed_factor(factor: float) -> Callable[..., float]:
    return lambda schedule, progress, epochs=1: factor


def falling(schedule: Schedule, progress: float, epochs: int = 1) -> float:
    return 1.0 - progress


def rising(schedule: Schedule, progress: float, epochs: int = 1) -> float:
    return progress


def without_clip(schedule: Schedule, progress: float, epochs: int = 1) -> float:
    return schedule.end * progress


SCHEDULE = f"{HERE}.schedules.schedule_factor"

#: item, what is replaced by what, the claims that must fall
CLAIMS: list[tuple[str, Replacement, set[str]]] = [
    (
        "figure_2",
        (f"{TOY}.vanilla_loss", lambda theta, x: np.logaddexp(0.0, theta + 0 * x)),
        {"derivatives", "minimum"},
    ),
    ("figure_2", (f"{TOY}.vanilla_loss", lambda theta, x: np.logaddexp(0.0, -theta * x)), {"derivatives", "monotone"}),
    ("figure_3", (f"{HERE}.sharper_minima.worst_shifted_loss", lambda theta, eps: 0.15 * theta**2), {"sharper"}),
    (
        "figure_4",
        (f"{HERE}.flat_and_sharp.training_loss", lambda theta, widths, depth: 0.0 * theta),
        {"gap"},
    ),
    ("figure_11", (SCHEDULE, fixed_factor(1.0)), {"begins-at-0", "reaches-target"}),
    ("figure_11", (SCHEDULE, falling), {"begins-at-0", "rises"}),
    ("figure_11", (SCHEDULE, without_clip), {"below-target"}),
    ("figure_12", (SCHEDULE, falling), {"returns"}),
    ("figure_12", (SCHEDULE, rising), {"falls", "returns"}),
    ("linear_sets", (f"{LINEAR}.is_good_direction", no_direction), {"good"}),
    ("linear_sets", (f"{LINEAR}.is_good_direction", any_direction), {"good"}),
    ("linear_sets", (f"{LINEAR}.is_bad_direction", no_direction), {"bad"}),
    ("linear_sets", (f"{LINEAR}.is_bad_direction", every_direction), {"bad"}),
    ("theorems", (f"{LINEAR}.is_good_direction", no_direction), {"linear-model"}),
    ("theorems", (f"{TOY}.adversarial_loss", loss_without_adversary), {"smoothness"}),
    ("theorems", (f"{HERE}.convergence.step_size", lambda curvature, steps: 0.0), {"convergence"}),
]


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CLAIMS}))
def test_the_claims_hold_and_each_is_seen_to_fall(name: str, tmp_path: Path) -> None:
    found = verdicts(name, tmp_path)
    assert set(found.values()) == {HOLDS}
    assert set(found) == set().union(*(seen for other, _, seen in CLAIMS if other == name))


@pytest.mark.parametrize("number", range(len(CLAIMS)))
def test_a_wrong_version_makes_the_claim_fail(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, replacement, claims = CLAIMS[number]
    monkeypatch.setattr(*replacement)
    found = verdicts(name, tmp_path)
    assert {claim: found[claim] for claim in claims} == dict.fromkeys(claims, FAILS)
