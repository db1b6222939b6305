"""ma2025 section 4.4.2: gradient descent in closed form (4.12), its limit and the risk of that (4.13), which grows with d."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    adversarial_risk,
    dct_matrix,
    descent_error,
    population_gradient,
    to_frequency,
    to_spatial,
)
from robustscape.theory.rows import check_row


def gradient_descent_limit(
    *,
    dimension: Annotated[int, Field(ge=3)] = 8,
    steps: Annotated[int, Field(ge=100)] = 500,
    problems: Annotated[int, Field(ge=1)] = 10,
    sizes: list[Annotated[int, Field(ge=3)]] = [3, 8, 32, 128],  # noqa: B006  (read from the syntax tree as a schema)
    deviation: Annotated[float, Field(gt=0)] = 0.1,
    draws: Annotated[int, Field(ge=50)] = 2000,
    eps: Annotated[float, Field(gt=0)] = 1.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check gradient descent on the population risk, simulated in the spatial domain, on random problems.

    The gradient Sigma e is that of autodiff; every step is (I - eta diag(s))^t e~(0) within 1e-6; irrelevant weights stay,
    the others come to the true ones below the largest stable rate and run away above it. The adversarial risk of the limit is
    (4.13); for weights that start at N(0, sigma^2 I) its mean is eps^2/2 (||w~*||^2 + sigma^2 (d - 2)) with two relevant
    frequencies, so it grows with d by eps^2 sigma^2 / 2 each.

    Args:
        dimension: d of the random problems, two of whose frequencies are irrelevant.
        steps: of gradient descent.
        problems: number of random problems.
        sizes: d of the means.
        deviation: sigma of the first weights.
        draws: first weights of a mean.
        eps: radius of the perturbation.
        seed: of all.
    """
    generator = np.random.default_rng(seed)
    gradient = closed = stays = ends = risk = 0.0
    runs_away = math.inf
    for _ in range(problems):
        s = np.concatenate([generator.uniform(0.2, 1.0, dimension - 2), np.zeros(2)])
        start, target = generator.standard_normal((2, dimension))
        rate = 1.5 / s.max()
        error = to_spatial(start - target)
        expected = autodiff_gradient(error, s)
        gradient = max(gradient, float(np.abs(population_gradient(error, s) - expected).max()))
        path = to_frequency(descent_path(error, s, rate, steps))
        formula = descent_error(start - target, s, rate, np.arange(steps + 1))
        closed = max(closed, float(np.abs(path - formula).max()))
        stays = max(stays, float(np.abs(path[:, -2:] - path[0, -2:]).max()))
        ends = max(ends, float(np.abs(path[-1, :-2]).max()))
        limit = eps**2 / 2 * float((target[:-2] ** 2).sum() + (start[-2:] ** 2).sum())
        risk = max(risk, abs(float(adversarial_risk(path[-1], target, s, eps)) / limit - 1))
        fast = to_frequency(descent_path(error, s, 2.1 / s.max(), 300))
        runs_away = min(runs_away, float(np.abs(fast[-1]).max() / np.abs(fast[0]).max()))
    columns = {"dimension": dimension, "steps": steps, "problems": problems}
    return [
        check_row("gradient", "largest error", gradient, "==", 0.0, tolerance=1e-9, **columns),
        check_row("eq 4.12", "largest error over all steps", closed, "==", 0.0, tolerance=1e-6, **columns),
        check_row("irrelevant weights stay", "largest change", stays, "==", 0.0, tolerance=1e-9, **columns),
        check_row("limit", "largest error of a relevant weight", ends, "==", 0.0, tolerance=1e-6, **columns),
        check_row("largest rate", "growth of the error above it", runs_away, ">", 100.0, **columns),
        check_row("eq 4.13", "largest relative error", risk, "==", 0.0, tolerance=1e-6, eps=eps, **columns),
        *_growth_rows(sizes, deviation, draws, eps, generator),
    ]


def autodiff_gradient(error: Array, s: Array) -> Array:
    """Return the gradient of the population risk 1/2 sum s (C e)^2 in the spatial domain, by autodiff."""
    point = torch.tensor(error, requires_grad=True)
    risk = (torch.tensor(s) * (torch.tensor(dct_matrix(len(s))) @ point) ** 2).sum() / 2
    return np.asarray(torch.autograd.grad(risk, point)[0].numpy())


def descent_path(error: Array, s: Array, rate: float, steps: int) -> Array:
    """Return the errors (steps + 1, ..., d) of gradient descent in the spatial domain, the first included."""
    path = [error]
    for _ in range(steps):
        path.append(path[-1] - rate * population_gradient(path[-1], s))
    return np.stack(path)


def limit_risks(starts_f: Array, target: Array, s: Array, eps: float) -> Array:
    """Return the adversarial risks (n,) of what gradient descent at rate 1 ends with, from weights w~ (n, d)."""
    error = to_spatial(starts_f - target)
    for _ in range(60):
        error = error - population_gradient(error, s)
    return adversarial_risk(to_frequency(error), target, s, eps)


def _growth_rows(
    sizes: list[int], deviation: float, draws: int, eps: float, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Rows of the mean risk over first weights, for each d, and of what a further irrelevant frequency adds.

    The risk is quadratic in the first weights, so the rule of two points +-sigma has its mean under N(0, sigma^2) exactly.
    """
    rows, means, errors = [], [], []
    for d in sizes:
        s, target = np.concatenate([[1.0, 0.5], np.zeros(d - 2)]), np.concatenate([[1.0, -1.0], np.zeros(d - 2)])
        risks = limit_risks(deviation * generator.standard_normal((draws, d)), target, s, eps)
        exact = limit_risks(deviation * generator.choice([-1.0, 1.0], (8, d)), target, s, eps)
        means.append(float(risks.mean()))
        errors.append(4 * float(risks.std(ddof=1)) / math.sqrt(draws))
        expected = eps**2 / 2 * (float((target**2).sum()) + (d - 2) * deviation**2)
        rows += [
            check_row(
                "mean of eq 4.13", "largest relative error, two-point rule", float(np.abs(exact / expected - 1).max()), "==", 0.0,
                tolerance=1e-6, dimension=d, sigma=deviation, eps=eps,
            ),
            check_row(
                "mean of eq 4.13", "mean risk", means[-1], "==", expected, tolerance=errors[-1],
                dimension=d, sigma=deviation, draws=draws, eps=eps,
            ),
        ]  # fmt: skip
    wide = sizes[-1] - sizes[0]
    rows.append(
        check_row(
            "grows with d", "mean risk of a further frequency", (means[-1] - means[0]) / wide, "==",
            eps**2 * deviation**2 / 2, tolerance=math.hypot(errors[0], errors[-1]) / wide,
            dimension=sizes[-1], sigma=deviation, draws=draws, eps=eps,
        )
    )  # fmt: skip
    return rows
