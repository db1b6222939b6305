"""Every check of kanai2022 falls when the thing under test is replaced by something wrong: by nothing, or by half of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from theory_checks import failing_checks, replace_in_check, run_check

from robustscape import catalog
from robustscape.theory import logistic
from robustscape.theory.kanai2022 import (
    _lipschitz,
    _local_entropy,
    _two_weight_losses,
    closed_form,
    lemma_4,
    lemma_5,
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
    Mutation("swish_attack", "worst_loss", loss_of(model="linear"), "interior"),
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
    assert names - {"movement", "surface"} == set(FAST)  # these two draw toys: they state nothing
