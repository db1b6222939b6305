"""Every check of kanai2022 falls when the thing under test is replaced by something wrong: by nothing, or by half of it.

So does every claim on its toys, ``movement`` and ``surface``, which state nothing themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from theory_checks import failing_checks, replace_in_check, run_check

from robustscape import catalog
from robustscape.claims.verdicts import claim_verdict
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Study
from robustscape.report.items import aggregate_repetitions, select_metrics
from robustscape.report.sources import source_rows
from robustscape.report.words import FAILS, HOLDS
from robustscape.theory import logistic
from robustscape.theory.kanai2022 import (
    _lipschitz,
    _local_entropy,
    _swish_pgd,
    _two_weight_losses,
    closed_form,
    lemma_4,
    lemma_5,
    movement,
    surface,
    theorem_3,
)
from robustscape.training.optimizers.entropy_sgd import entropy_sgd


@dataclass(frozen=True)
class Mutation:
    """``part`` of a check replaced by ``wrong``; the rows named ``falls`` must not all hold then."""

    check: str
    part: str
    wrong: Callable[..., Any]
    falls: str


def bounds_times(tt: float, tx: float) -> Callable[..., tuple[float, float]]:
    def wrong(*arguments: Any) -> tuple[float, float]:
        c_tt, c_tx = _lipschitz.lipschitz_bounds(*arguments)
        return tt * c_tt, tx * c_tx

    return wrong


def worst_inputs_times(factor: float) -> Callable[..., torch.Tensor]:
    return lambda w, x, y, eps, norm: _lipschitz.worst_inputs(w, x, y, factor * eps, norm)


def without_attack(w: torch.Tensor, x: torch.Tensor, y: float, eps: float, norm: str) -> torch.Tensor:
    return _lipschitz.adversarial_gradients(w, x, y, 0.0, norm)


def smooth_signs(w: torch.Tensor, x: torch.Tensor, y: float, eps: float, norm: str) -> torch.Tensor:
    return x - eps * y * torch.tanh(1e5 * w)


def other_norm(w: torch.Tensor, x: torch.Tensor, y: float, eps: float, norm: str) -> torch.Tensor:
    return _lipschitz.worst_inputs(w, x, y, eps, "L2" if norm == "Linf" else "Linf")


def unsmoothed(loss: Any, gamma: float, first: Any, second: Any) -> Any:
    return loss(first[:, None], second[None, :])


def moments_without_covariance(loss: Any, gamma: float, first: Any, second: Any) -> Any:
    found = _local_entropy.local_entropy_moments(loss, gamma, first, second)
    return found._replace(covariance=tuple(np.zeros_like(c) for c in found.covariance))


def moments_at_another_gamma(loss: Any, gamma: float, first: Any, second: Any) -> Any:
    return _local_entropy.local_entropy_moments(loss, 1.02 * gamma, first, second)


def moments_of_a_negative_loss(loss: Any, gamma: float, first: Any, second: Any) -> Any:
    return _local_entropy.local_entropy_moments(lambda a, b: loss(a, b) - 1.0, gamma, first, second)


def other_optimizer(**changes: Any) -> Callable[..., Any]:
    return lambda parameters, **settings: entropy_sgd(parameters, **settings | changes)


def loss_of(**changes: Any) -> Callable[..., Any]:
    """The worst loss of a toy with other arguments than the check asks for."""

    def wrong(model: Any, data: Any, attack: Any, eps: float) -> Any:
        asked = {"model": model, "data": data, "attack": attack, "eps": eps}
        return _two_weight_losses.worst_loss(**asked | {k: v for k, v in changes.items() if asked["attack"] != "none"})

    return wrong


@pytest.fixture(autouse=True)
def _no_adaptive_quadrature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scipy's double integrals take seconds, and what they notice is noticed by differences as well."""
    monkeypatch.setattr(theorem_3, "_adaptive_error", lambda *_: 0.0)


def swish_losses_times(factor: float) -> Callable[..., Any]:
    """PGD's losses on the swish model at another budget."""
    return lambda side, x, norm, eps, seed: _swish_pgd.swish_pgd_losses(side, x, norm, factor * eps, seed)


#: What a replacement calls: the module's own name is the replacement by then.
pgd, entropy_1d, kink_entropy = closed_form.pgd, theorem_3.entropy_1d, theorem_3.kink_entropy
right_hessian, right_jacobian, right_slopes = (
    lemma_5.bordered_hessian,
    lemma_4.implicit_jacobian,
    lemma_4.weight_gradients,
)

MUTATIONS = [
    Mutation(
        "closed_form", "worst_losses", lambda w, x, y, eps, n: logistic.worst_losses(w, x, y, 0.99 * eps, n), "L2"
    ),
    Mutation(
        "closed_form", "worst_losses", lambda w, x, y, eps, n: logistic.worst_losses(w, x, y, 0.99 * eps, n), "Linf"
    ),
    Mutation("closed_form", "worst_input", lambda w, x, y, eps, n: logistic.worst_input(w, x, y, -eps, n), "L2"),
    Mutation("closed_form", "pgd", lambda model, x, *_, **__: x, "Linf"),
    Mutation("closed_form", "pgd", lambda m, x, y, t, g, **k: pgd(m, x, 1 - y, t, g, **k), "L2"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(0.5, 1), "lemma 1"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(1, 0.5), "lemma 1"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(2, 1), "lemma 1"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(1, 2), "lemma 1"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(1, 0.5), "proposition 1"),
    Mutation("lemma_1", "lipschitz_bounds", bounds_times(1, 2), "proposition 1"),
    Mutation("lemma_1", "adversarial_gradients", without_attack, "proposition 1"),
    Mutation("lemma_1", "adversarial_gradients", without_attack, "Danskin"),
    Mutation("lemma_2", "worst_inputs", worst_inputs_times(2), "lemma 2"),
    Mutation("lemma_2", "worst_inputs", worst_inputs_times(0.5), "lemma 2"),
    Mutation("lemma_2", "worst_inputs", other_norm, "lemma 2"),
    Mutation("lemma_2", "worst_input", lambda w, x, y, eps, n: logistic.worst_input(w, x, y, 1.01 * eps, n), "lemma 2"),
    Mutation("lemma_2", "lipschitz_bounds", bounds_times(0.5, 1), "theorem 1"),
    Mutation("lemma_2", "lipschitz_bounds", bounds_times(1, 0.5), "theorem 1"),
    Mutation("lemma_2", "lipschitz_bounds", bounds_times(2, 1), "theorem 1"),
    Mutation("lemma_2", "lipschitz_bounds", bounds_times(1, 2), "theorem 1"),
    Mutation("lemma_2", "adversarial_gradients", without_attack, "theorem 1"),
    Mutation("lemma_3", "worst_inputs", smooth_signs, "lemma 3"),
    Mutation("lemma_3", "worst_inputs", other_norm, "lemma 3"),
    Mutation("lemma_3", "worst_inputs", worst_inputs_times(0.5), "lemma 3"),
    Mutation("lemma_3", "adversarial_gradients", without_attack, "lemma 3"),
    Mutation("lemma_3", "lipschitz_bounds", bounds_times(0.5, 1), "theorem 2"),
    Mutation("lemma_3", "lipschitz_bounds", bounds_times(2, 1), "theorem 2"),
    Mutation("lemma_3", "adversarial_gradients", without_attack, "theorem 2"),
    Mutation("lemma_4", "implicit_jacobian", lambda *a: 0.5 * right_jacobian(*a), "lemma 4"),
    Mutation(
        "lemma_4",
        "implicit_jacobian",
        lambda *a: right_jacobian(*a).sqrt().nan_to_num(1.0),
        "flat in x, rough in theta",
    ),
    Mutation("lemma_4", "maximise_by_ascent", lambda f, t, inputs, r: torch.zeros(len(t), inputs).double(), "lemma 4"),
    Mutation("lemma_4", "weight_gradients", lambda f, x, t: 2 * right_slopes(f, x, t), "smoothness"),
    Mutation("lemma_4", "weight_gradients", lambda f, x, t: torch.zeros_like(t), "smoothness"),
    Mutation("lemma_5", "bordered_hessian", lambda c, o, m: right_hessian(c, o, 2 * m), "lemma 5"),
    Mutation("lemma_5", "bordered_hessian", lambda c, o, m: right_hessian(c, 0.5 * o, m), "lemma 5"),
    Mutation("lemma_5", "bordered_hessian", lambda c, o, m: right_hessian(0 * c, o, m), "lemma 5, curved loss"),
    Mutation("lemma_5", "bordered_hessian", lambda c, o, m: right_hessian(-c, o, m), "lemma 5, curved loss"),
    Mutation("lemma_5", "bordered_hessian", lambda c, o, m: right_hessian(c, o, 1.01 * m), "lemma 5, curved loss"),
    Mutation(
        "lemma_5",
        "worst_inputs_of_curved",
        lambda a, p, eps: (eps * p / p.norm(dim=1, keepdim=True), p.norm(dim=1) / eps),
        "lemma 5, curved loss",
    ),
    Mutation("lemma_5", "_worst_input", lambda b, t, eps: -eps * b @ t / (b @ t).norm(), "lemma 5"),
    Mutation("theorem_3", "local_entropy_moments", moments_without_covariance, "theorem 3"),
    Mutation("theorem_3", "local_entropy_moments", moments_without_covariance, "attacked"),
    Mutation("theorem_3", "local_entropy_moments", moments_at_another_gamma, "attacked"),
    Mutation("theorem_3", "local_entropy_moments", moments_of_a_negative_loss, "eq 61"),
    Mutation("theorem_3", "local_entropy", unsmoothed, "theorem 3"),
    Mutation(
        "theorem_3",
        "local_entropy_moments",
        lambda f, g, a, b: _local_entropy.local_entropy_moments(f, g / 2, a, b),
        "convex losses",
    ),
    Mutation("theorem_3", "kink_entropy", lambda s, g, t: kink_entropy(1.01 * s, g, t), "kink"),
    Mutation("theorem_3", "entropy_1d", lambda f, g, t: entropy_1d(f, 1.01 * g, t), "quadratic"),
    Mutation("theorem_3", "entropy_sgd", other_optimizer(noise=0.0), "SGLD"),
    Mutation("theorem_3", "entropy_sgd", other_optimizer(protocol="algorithm"), "SGLD"),
    Mutation("theorem_3", "entropy_sgd", other_optimizer(gamma=0.0), "SGLD"),
    Mutation("smoothing", "local_entropy", unsmoothed, "smooth"),
    Mutation("smoothing", "worst_loss", loss_of(attack="none"), "kinks"),
    Mutation("smoothing", "worst_loss", loss_of(attack="L2"), "order"),
    Mutation("smoothing", "worst_loss", loss_of(attack="L2"), "axes"),
    Mutation("smoothing", "worst_loss", loss_of(attack="Linf"), "patch"),
    Mutation("smoothing", "local_entropy", unsmoothed, "alike"),
    Mutation(
        "swish_attack",
        "swish_pgd_losses",
        lambda side, x, n, eps, seed: unsmoothed(loss_of()("swish", "datum", "none", eps), 0, side, side),
        "PGD",
    ),
    Mutation("swish_attack", "swish_pgd_losses", swish_losses_times(0.1), "interior"),
    Mutation("swish_attack", "swish_minimiser", lambda: -1.0, "interior"),
    Mutation("swish_attack", "worst_loss", loss_of(eps=0.25), "PGD"),
    Mutation("swish_attack", "swish_minimiser", lambda: -1.2, "swish"),
]

#: Parameters that make a check fast.
FAST: dict[str, dict[str, Any]] = {
    "closed_form": {"samples": 50},
    "lemma_1": {"draws": 500},
    "lemma_2": {"draws": 500},
    "lemma_3": {"draws": 200},
    "lemma_4": {"draws": 50, "curvatures": (1.0, 0.5)},
    "lemma_5": {"draws": 10},
    "theorem_3": {"gammas": (1.0,), "draws": 200},
    "smoothing": {"gammas": (1.0,), "steps": (0.025, 0.0125)},
    "swish_attack": {"points": 31},
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.check}-{m.part}-{m.falls}")
def test_a_check_falls_on_something_wrong(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"kanai2022/{mutation.check}"
    replace_in_check(monkeypatch, name, mutation.part, mutation.wrong)
    assert mutation.falls in failing_checks(run_check(name, **FAST[mutation.check]))


@pytest.mark.parametrize("check", FAST)
def test_every_statement_of_a_check_falls_on_something(check: str) -> None:
    """And holds on what is right: no group of rows is without a mutation that it notices."""
    rows = run_check(f"kanai2022/{check}", **FAST[check])
    assert failing_checks(rows) == set()
    assert {row["check"] for row in rows} == {m.falls for m in MUTATIONS if m.check == check}


def test_every_check_has_mutations() -> None:
    entries = catalog.catalog_entries("theory")
    names = {name.removeprefix("kanai2022/") for name in entries if name.startswith("kanai2022/")}
    assert names - {"movement", "surface"} == set(FAST)  # these two draw toys: their claims fall, below


# -- claims on the toys ------------------------------------------------------------------------------------------------


#: Figures of toys.
TOYS = ("figure_1", "figure_2", "figure_4", "figure_5")


@dataclass(frozen=True)
class WrongToy:
    """``part`` of a module replaced by ``wrong``; the ``claims`` of the figure must fail then."""

    figure: str
    part: str
    wrong: Callable[..., Any]
    claims: tuple[str, ...]
    module: str = "surface"


@functools.cache
def study() -> Study:
    return load_experiment(Path(__file__).parents[3] / "config", "small").studies["kanai2022"]


def verdicts(figure: str) -> dict[str, str]:
    """Claim -> its verdict on the figure's rows, made with the modules as they are now."""
    item = study().items[figure]
    frames = []
    for source in item.rows:
        entry = study().theory[source.of]
        rows = pd.DataFrame(run_check(entry.check, **entry.parameters | {"points": 5}))
        rows = rows.assign(stand_in="", paper_protocol=False)
        frames.append(source_rows(rows, source, item.factors, {}, None))
    rows = select_metrics(pd.concat(frames, ignore_index=True), item.factors, item.metrics)
    table = aggregate_repetitions(rows, item.factors)
    return {claim.id: claim_verdict(claim, table, item.factors, "small", item.names)[0] for claim in item.claims}


right_input, right_point = movement.attacked_input, movement.highest_point_of_ball
right_ascent = movement.ascended_inputs
right_pgd = surface.swish_pgd_losses


def bend_beside_the_axis(values: Any, side: Any, step: float) -> float:
    zero = len(side) // 2 + 7
    bends = values[zero + 1] - 2 * values[zero] + values[zero - 1]
    return float(np.abs(bends[np.abs(side) >= 1]).max()) / step**2


def projected(peak: Any, eps: float) -> Any:
    return peak if np.linalg.norm(peak) <= eps else eps * peak / np.linalg.norm(peak)


def descended(peaks: Any, eps: float) -> Any:
    """What an attack that lowers the loss finds: the far side of the ball."""
    return -eps * peaks / np.linalg.norm(peaks, axis=1, keepdims=True)


def any_attack_as(attack: str) -> Callable[..., Any]:
    return lambda m, d, a, eps: _two_weight_losses.worst_loss(m, d, attack, eps)  # type: ignore[arg-type]


def helpful(m: Any, d: Any, a: Any, eps: float) -> Any:
    """An attack that lowers the loss."""
    return _two_weight_losses.worst_loss(m, d, a, -eps)


WRONG_TOYS = [
    WrongToy("figure_1", "attacked_input", lambda t, e, n: movement.CENTRE, ("Linf-jump", "L2-ratio"), "movement"),
    WrongToy(
        "figure_1", "attacked_input", lambda t, e, n: right_input(t, 0.98 * e, n), ("Linf-jump", "L2-ratio"), "movement"
    ),
    WrongToy("figure_1", "attacked_input", lambda t, e, n: right_input(t, e, "Linf"), ("L2-ratio",), "movement"),
    WrongToy("figure_1", "attacked_input", lambda t, e, n: right_input(t, e, "L2"), ("Linf-jump",), "movement"),
    WrongToy("figure_1", "ascended_inputs", lambda peaks, eps: peaks, ("sphere",), "movement"),
    WrongToy(
        "figure_1",
        "ascended_inputs",
        lambda peaks, eps: np.stack([projected(peak, eps) for peak in peaks]),
        ("sphere",),
        "movement",
    ),
    WrongToy(
        "figure_1",
        "ascended_inputs",
        lambda peaks, eps: eps * peaks / np.linalg.norm(peaks, axis=1, keepdims=True),
        ("interior", "sphere"),
        "movement",
    ),
    WrongToy(
        "figure_1",
        "ascended_inputs",
        lambda peaks, eps: 0.99 * right_ascent(peaks, eps),
        ("interior", "sphere"),
        "movement",
    ),
    WrongToy("figure_1", "ascended_inputs", descended, ("interior",), "movement"),
    WrongToy("figure_1", "highest_point_of_ball", projected, ("sphere",), "movement"),
    WrongToy("figure_1", "highest_point_of_ball", lambda p, eps: 0.99 * right_point(p, eps), ("interior",), "movement"),
    WrongToy("figure_2", "worst_loss", any_attack_as("none"), ("axes",)),
    WrongToy("figure_2", "worst_loss", any_attack_as("L2"), ("axes", "swish-axes")),
    WrongToy(
        "figure_2",
        "worst_loss",
        lambda m, d, a, eps: _two_weight_losses.worst_loss("linear", d, a, eps),
        ("swish-interior",),
    ),
    WrongToy("figure_2", "_second_difference_across", bend_beside_the_axis, ("axes", "swish-axes")),
    WrongToy(
        "figure_2",
        "swish_pgd_losses",
        lambda side, x, norm, eps, *seed: right_pgd(side, x, "L2", eps, *seed),
        ("swish-order",),
    ),
    WrongToy(
        "figure_2",
        "swish_pgd_losses",
        lambda side, x, norm, eps, *seed: right_pgd(side, x, norm, 0.1 * eps, *seed),
        ("swish-interior", "swish-order"),
    ),
    WrongToy("figure_4", "worst_loss", helpful, ("theta-2", "degrades")),
    WrongToy("figure_4", "worst_loss", any_attack_as("none"), ("degrades", "Linf-axes", "L2-origin")),
    WrongToy("figure_4", "worst_loss", any_attack_as("Linf"), ("degrades", "L2-origin")),
    WrongToy("figure_4", "worst_loss", any_attack_as("L2"), ("degrades", "Linf-axes")),
    WrongToy("figure_5", "local_entropy", unsmoothed, ("smooth", "alike")),
    WrongToy("figure_5", "worst_loss", helpful, ("theta-2", "degrades")),
    WrongToy("figure_5", "worst_loss", any_attack_as("L2"), ("degrades",)),
]


@pytest.mark.parametrize("wrong", WRONG_TOYS, ids=lambda w: f"{w.figure}-{w.part}-{'+'.join(w.claims)}")
def test_claims_on_a_wrong_toy_fail(wrong: WrongToy, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_check(monkeypatch, f"kanai2022/{wrong.module}", wrong.part, wrong.wrong)
    found = verdicts(wrong.figure)
    assert {claim: found[claim] for claim in wrong.claims} == dict.fromkeys(wrong.claims, FAILS)


@pytest.mark.parametrize("figure", TOYS)
def test_claims_on_the_toys_hold_and_each_can_fail(figure: str) -> None:
    found = verdicts(figure)
    assert set(found.values()) == {HOLDS}
    assert set(found) == {claim for wrong in WRONG_TOYS if wrong.figure == figure for claim in wrong.claims}
