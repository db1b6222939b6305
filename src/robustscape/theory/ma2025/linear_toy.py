"""ma2025 section 3.2: gradient descent leaves an over-parametrised linear model open to attack; ridge and lasso are biased."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._linear_toy import (
    FIRST_MOMENT,
    SECOND_MOMENT,
    Array,
    attack_direction,
    expected_square_norm,
    lasso_solution,
    point_loss,
    population_gradient,
    population_loss,
    ridge_solution,
    true_weights,
)
from robustscape.theory.rows import check_row

#: What autodiff and closed forms may differ by in float64.
ROUNDING = 1e-9


def linear_toy(
    *,
    dimension: Annotated[int, Field(ge=2)] = 100,
    eps_values: list[Annotated[float, Field(gt=0)]] = [0.01, 0.1, 0.3],  # noqa: B006  (read from the syntax tree as a schema)
    penalties: list[Annotated[float, Field(gt=0)]] = [0.1, 1.0, 3.0],  # noqa: B006
    steps: Annotated[int, Field(ge=100)] = 500,
    rate: Annotated[float, Field(gt=0, lt=0.9)] = 0.1,
    seeds: Annotated[int, Field(ge=2)] = 20,
    draws: Annotated[int, Field(ge=20)] = 2000,
) -> list[dict[str, Any]]:
    """Check the statements of the section, with the moment that the work's gradient drops (E[X_1^2] for E[X_1]).

    The gradient against differences of the population loss; the limit of gradient descent below the largest stable rate and its
    divergence above; the loss under the attack (3.1); E ||W||_1^2 and the slopes of the mean attacked loss, over d, eps and
    sigma; the first weight of ridge regression and of the lasso, reached by descent, and the pace at which ridge forgets others.

    Args:
        dimension: d.
        eps_values: sizes of the attack.
        penalties: lambda of ridge and lasso.
        steps: of gradient descent.
        rate: eta, below 2 / (E[X_1^2] + lambda).
        seeds: initial weights.
        draws: initial weights of a mean.
    """
    starts = np.random.default_rng(0).standard_normal((seeds, dimension))
    protocol = {"dimension": dimension, "rate": rate, "steps": steps, "seeds": seeds}
    ends = [descend(w, rate, steps) for w in starts]
    slope = max(float(np.abs(_difference_gradient(w) - population_gradient(w)).max()) for w in starts)
    printed = min(abs(_difference_gradient(w)[0] - (w[0] - 1) * FIRST_MOMENT) for w in starts)
    fast = descend(starts[0], 2.1 / SECOND_MOMENT, steps)
    rows = [
        check_row("gradient", "largest error", slope, "==", 0.0, tolerance=1e-6, **protocol),
        check_row("printed gradient is wrong", "smallest error with E[X_1]", printed, ">", 1e-6, **protocol),
        check_row(
            "limit", "largest |w_1 - w*_1|", max(abs(w[0] - 1) for w in ends), "==", 0.0, tolerance=1e-9, **protocol
        ),
        check_row(
            "limit",
            "largest change of another weight",
            max(float(np.abs(w - start)[1:].max()) for w, start in zip(ends, starts, strict=True)),
            "==",
            0.0,
            tolerance=0.0,
            **protocol,
        ),
        check_row("limit", "largest loss", max(map(population_loss, ends)), "==", 0.0, tolerance=1e-12, **protocol),
        check_row(
            "largest rate",
            "|w_1 - w*_1| beyond 2 / E[X_1^2]",
            abs(fast[0] - 1),
            ">",
            1e3 * abs(starts[0, 0] - 1),
            **protocol,
        ),
    ]
    for eps in eps_values:
        worst = 0.0
        for w, start in zip(ends, starts, strict=True):
            x = np.eye(1, dimension)[0] * 0.7
            found = float(point_loss(x + attack_direction(w, eps), w))
            worst = max(worst, abs(found - 0.5 * eps**2 * float(np.abs(start[1:]).sum()) ** 2) / found)
        rows.append(
            check_row("eq 3.1", "largest relative error", worst, "==", 0.0, tolerance=1e-6, eps=eps, **protocol)
        )
    return [*rows, *_scaling_rows(draws), *_penalty_rows(starts, penalties, rate, steps, protocol)]


def descend(w: Array, rate: float, steps: int, penalty: float = 0.0) -> Array:
    """Return the weights after ``steps`` of gradient descent on the population loss plus ``penalty``/2 ||w||_2^2."""
    w = w.copy()
    for _ in range(steps):
        w = w - rate * (population_gradient(w) + penalty * w)
    return w


def descend_lasso(w: Array, rate: float, steps: int, penalty: float) -> Array:
    """Return the weights after ``steps`` proximal steps on the population loss plus ``penalty`` ||w||_1."""
    for _ in range(steps):
        w = w - rate * population_gradient(w)
        w = np.sign(w) * np.maximum(np.abs(w) - rate * penalty, 0.0)
    return w


def _difference_gradient(w: Array, step: float = 1e-4) -> Array:
    """The gradient of the population loss by central differences, exact for a quadratic; the first three weights' and zeros."""
    found = np.zeros_like(w)
    for j in range(min(3, len(w))):
        shift = step * np.eye(1, len(w), j)[0]
        found[j] = (population_loss(w + shift) - population_loss(w - shift)) / (2 * step)
    return found


def _scaling_rows(draws: int) -> list[dict[str, Any]]:
    """Rows of E ||W||_1^2, and of the slopes of the mean attacked loss against d, eps and sigma on doubly logarithmic axes."""
    generator = np.random.default_rng(1)
    rows = []
    for d, sigma in ((10, 1.0), (100, 0.5)):
        norms = np.abs(sigma * generator.standard_normal((draws, d))).sum(1) ** 2
        error = 4 * float(norms.std(ddof=1)) / draws**0.5
        rows.append(
            check_row(
                "mean square of the norm",
                "mean ||W||_1^2",
                float(norms.mean()),
                "==",
                expected_square_norm(d, sigma),
                tolerance=error,
                dimension=d,
                sigma=sigma,
                draws=draws,
            )
        )
    grid: dict[str, tuple[list[float], Callable[[float], tuple[int, float, float]]]] = {
        "d": ([50, 100, 200, 500, 1000, 2000], lambda v: (int(v), 0.1, 1.0)),
        "eps": ([0.01, 0.03, 0.1, 0.3], lambda v: (100, v, 1.0)),
        "sigma": ([0.1, 0.3, 1.0, 3.0], lambda v: (100, 0.1, v)),
    }
    for name, (values, setting) in grid.items():
        losses = []
        for value in values:
            d, eps, sigma = setting(value)
            w = true_weights(d) + sigma * np.random.default_rng(2).standard_normal((max(20, draws // 10), d))
            w[:, 0] = 1.0
            losses.append(float(point_loss(attack_direction(w, eps), w).mean()))
        slope = float(np.polyfit(np.log(values), np.log(losses), 1)[0])
        rows.append(check_row(f"slope in {name}", "slope of log loss", slope, "==", 2.0, tolerance=0.05, draws=draws))
    return rows


def _penalty_rows(
    starts: Array, penalties: list[float], rate: float, steps: int, protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of ridge and lasso: their first weights, the others at 0, and the pace (1 - eta lambda)^t of ridge."""
    rows = []
    for penalty in penalties:
        ridge = descend(starts[0], rate, steps, penalty)
        shared = {"penalty": penalty, **protocol}
        expected = ridge_solution(penalty)
        rows += [
            check_row("ridge", "w_1", float(ridge[0]), "==", expected, tolerance=ROUNDING, **shared),
            check_row("ridge is biased", "w*_1 - w_1", float(1 - ridge[0]), ">", 0.01, **shared),
        ]
        some = descend(starts[0], rate, 20, penalty)[1:] / starts[0][1:]
        error = float(np.abs(some - (1 - rate * penalty) ** 20).max())
        rows.append(check_row("pace of ridge", "largest error", error, "==", 0.0, tolerance=ROUNDING, **shared))
        lasso = descend_lasso(starts[0], rate, steps, penalty)
        rows += [
            check_row("lasso", "w_1", float(lasso[0]), "==", lasso_solution(penalty), tolerance=1e-6, **shared),
            check_row(
                "lasso", "largest other weight", float(np.abs(lasso[1:]).max()), "==", 0.0, tolerance=0.0, **shared
            ),
        ]
    return rows
