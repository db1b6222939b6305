"""ma2025 section 4.4.1: the worst perturbation of linear regression (4.8), its risk (4.9), and minimisers (4.10, 4.6)."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy import integrate

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    adversarial_risk,
    minimiser_risk,
    point_loss,
    standard_risk,
    to_spatial,
    worst_perturbation,
)
from robustscape.theory.rows import check_row


def linear_adversary(
    *,
    dimension: Annotated[int, Field(ge=3)] = 8,
    irrelevant: Annotated[int, Field(ge=1)] = 3,
    problems: Annotated[int, Field(ge=1)] = 10,
    eps_values: list[Annotated[float, Field(gt=0)]] = [0.1, 1.0],  # noqa: B006  (read from the syntax tree as a schema)
    draws: Annotated[int, Field(ge=50)] = 5000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check the adversary of a linear model in L2, on random variances, weights and true weights.

    (4.8): no perturbation that projected gradient ascent finds is worse, and the better one of two opposite starts is as bad;
    a single start is not, since the loss is convex in the perturbation and has a maximum on either side. Loss and radius are
    those of the spatial domain. (4.9): against numeric integration, and against the mean over inputs within five standard
    errors. (4.10): at standard-risk minimisers. (4.6): of these the one without irrelevant weights has the smallest risk, by
    eps^2/2 times the squared irrelevant weights.

    Args:
        dimension: d.
        irrelevant: number of irrelevant frequencies, the highest; below d.
        problems: number of random problems.
        eps_values: radii of the perturbation.
        draws: inputs of a problem.
        seed: of problems and inputs.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for eps in eps_values:
        found = [_numbers_of_problem(dimension, irrelevant, eps, draws, generator) for _ in range(problems)]
        worst = {name: max(abs(one[name]) for one in found) for name in found[0]}
        columns = {"dimension": dimension, "irrelevant": irrelevant, "problems": problems, "eps": eps, "draws": draws}
        rows += [
            check_row(
                "eq 4.8", "largest relative excess of an ascent", max(one["excess"] for one in found), "<=", 0.0,
                tolerance=1e-9, **columns,
            ),
            check_row("eq 4.8", "largest relative gap", worst["gap"], "==", 0.0, tolerance=1e-6, **columns),
            check_row("eq 4.8", "largest relative error of the radius", worst["radius"], "==", 0.0, tolerance=1e-9, **columns),
            check_row(
                "one start does not do", "smallest share of inputs it misses", min(one["missed"] for one in found), ">", 0.0,
                **columns,
            ),
            check_row("both domains", "largest relative error", worst["domain"], "==", 0.0, tolerance=1e-6, **columns),
            check_row("eq 4.9", "largest error, by integration", worst["integral"], "==", 0.0, tolerance=1e-6, **columns),
            check_row("eq 4.9", "largest error, in five standard errors", worst["mean"], "<=", 1.0, **columns),
            check_row("eq 4.10", "largest relative error", worst["minimiser"], "==", 0.0, tolerance=1e-6, **columns),
            check_row("eq 4.10", "largest standard risk", worst["standard"], "==", 0.0, tolerance=1e-12, **columns),
            check_row("eq 4.6", "largest error of others' excess", worst["more"], "==", 0.0, tolerance=1e-6, **columns),
        ]  # fmt: skip
    return rows


def _numbers_of_problem(
    d: int, irrelevant: int, eps: float, draws: int, generator: np.random.Generator
) -> dict[str, float]:
    """Return what the rows are made of, for one random problem: relative errors, all 0 where the formulas are right."""
    s = np.concatenate([generator.uniform(0.2, 2.0, d - irrelevant), np.zeros(irrelevant)])
    w, target = generator.standard_normal((2, d))
    x = generator.standard_normal((draws, d)) * np.sqrt(s)
    shift = worst_perturbation(x, w, target, eps)
    reached = point_loss(x, shift, w, target)
    start = generator.standard_normal(x.shape)
    found = [point_loss(x, ascend_loss(x, side * start, w, target, eps), w, target) for side in (1.0, -1.0)]
    best = np.maximum(*found)
    risk = float(adversarial_risk(w - target, target, s, eps))
    spatial = point_loss(*(to_spatial(vector) for vector in (x, shift, w, target)))
    exact = integrated_risk(math.sqrt(float((s * (w - target) ** 2).sum())), eps * float(np.linalg.norm(w)))

    other = np.where(s > 0, target, w)  # a minimiser
    attacked = point_loss(x, worst_perturbation(x, other, target, eps), other, target)
    robust = np.where(s > 0, target, 0.0)
    more = adversarial_risk(other - target, target, s, eps) - adversarial_risk(robust - target, target, s, eps)
    irrelevant_part = eps**2 / 2 * float((other[s == 0] ** 2).sum())
    return {
        "excess": float((best / reached).max()) - 1,
        "gap": 1 - float((best / reached).min()),
        "missed": float((found[0] < 0.999 * reached).mean()),
        "radius": float(np.abs(np.linalg.norm(to_spatial(shift), axis=1) / eps - 1).max()),
        "domain": float(np.abs(spatial / reached - 1).max()),
        "integral": risk / exact - 1,
        "mean": (float(reached.mean()) - risk) * math.sqrt(draws) / (5 * float(reached.std(ddof=1))),
        "minimiser": float(np.abs(attacked / minimiser_risk(other, eps) - 1).max()),
        "standard": float(standard_risk(other - target, s)),
        "more": float(more) / irrelevant_part - 1,
    }


def ascend_loss(x: Array, start: Array, w: Array, target: Array, eps: float, steps: int = 30) -> Array:
    """Return perturbations (n, d) after projected gradient ascent on the loss in the ball ||shift||_2 <= eps.

    Args:
        x: inputs (n, d).
        start: of that shape; its direction counts, the ascent begins on the sphere.
        w: weights (d,).
        target: true weights (d,).
        eps: radius.
        steps: of length 2 eps along the gradient, which is a multiple of w.
    """
    shift = eps * start / np.linalg.norm(start, axis=1, keepdims=True)
    for _ in range(steps):
        side = np.sign(x @ (w - target) + shift @ w)
        shift = shift + 2 * eps * side[:, None] * w / np.linalg.norm(w)
        shift = shift * np.minimum(1.0, eps / np.linalg.norm(shift, axis=1, keepdims=True))
    return shift


def integrated_risk(spread: float, reach: float) -> float:
    """Return E 1/2 (|Z| + reach)^2 for Z ~ N(0, spread^2), by numeric integration over the half line."""

    def density(z: float) -> float:
        return float((spread * z + reach) ** 2 * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))

    return float(integrate.quad(density, 0, math.inf, epsabs=0, epsrel=1e-11)[0])
