"""ma2025 equation 3.2 and section 3.3.3: the regulariser that is the adversary of the linear toy, and its Taylor expansions."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.ma2025._linear_toy import (
    FIRST_MOMENT,
    SECOND_MOMENT,
    Array,
    attack_direction,
    input_points,
    population_loss,
    robustified_loss,
    true_weights,
)
from robustscape.theory.rows import check_row


def matched_regulariser(
    *,
    dimension: Annotated[int, Field(ge=3)] = 20,
    eps_values: list[Annotated[float, Field(gt=0)]] = [0.05, 0.2],  # noqa: B006  (read from the syntax tree as a schema)
    problems: Annotated[int, Field(ge=2)] = 20,
    steps: Annotated[int, Field(ge=100)] = 40_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check equation 3.2, its minimiser, and that first and second order of the loss at Delta x are its parts.

    E l(X + Delta x(w); w) equals 3.2 for random weights, with the signs of w itself (the work prints those of w(0), with which it
    fails once a weight changes its sign). Descent ends at w_1 = 1 and w_{2:d} = 0: no bias, unlike ridge. Without variance of
    X_1 other weights have no loss either. Gradient and Hessian of the loss in x are r (w - w*) and (w - w*)(w - w*)^T; the
    expansion of first order is 3.2 without its last term, that of second order is all of it.

    Args:
        dimension: d.
        eps_values: sizes of the attack.
        problems: number of random weights.
        steps: of the descent.
        seed: of the weights.
    """
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((problems, dimension))
    rows = []
    for eps in eps_values:
        shared = {"dimension": dimension, "eps": eps, "problems": problems}
        direct = [population_loss(w, attack_direction(w, eps)) for w in weights]
        formula = [robustified_loss(w, eps) for w in weights]
        rows.append(_equal_row("eq 3.2", direct, formula, **shared))
        other = [population_loss(w, attack_direction(-w, eps)) for w in weights]  # every weight has changed its sign
        gaps = [right - wrong for right, wrong in zip(formula, other, strict=True)]
        twice = [2 * eps * (w[0] - 1.0) * FIRST_MOMENT * float(np.abs(w[1:]).sum()) for w in weights]
        rows.append(_equal_row("signs of w(0) do not do", gaps, twice, **shared))
        first, second, derivatives = zip(*(_expansions(w, eps) for w in weights), strict=True)
        last = [0.5 * eps**2 * float(np.abs(w[1:]).sum()) ** 2 for w in weights]
        rows += [
            _equal_row("first order", first, [f - end for f, end in zip(formula, last, strict=True)], **shared),
            _equal_row("second order", second, formula, **shared),
            check_row("derivatives", "largest error", max(derivatives), "==", 0.0, tolerance=1e-9, **shared),
        ]
        end = descend_robustified(weights[0], eps, steps)
        rows += [
            check_row("no bias", "w_1", float(end[0]), "==", 1.0, tolerance=1e-3, **shared),
            check_row("no bias", "||w_{2:d}||_1", float(np.abs(end[1:]).sum()), "==", 0.0, tolerance=1e-2, **shared),
        ]
        rows.append(
            check_row(
                "needs variance",
                "loss for constant X_1",
                _constant_input_loss(eps),
                "==",
                0.0,
                tolerance=1e-12,
                **shared,
            )
        )
    return rows


def _equal_row(check: str, found: Any, expected: Any, **columns: Any) -> dict[str, Any]:
    """A row of the largest relative error of numbers."""
    error = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(found, expected, strict=True))
    return check_row(check, "largest relative error", error, "==", 0.0, tolerance=1e-9, **columns)


def descend_robustified(w: Array, eps: float, steps: int, rate: float = 0.3) -> Array:
    """Return the weights after subgradient steps on 3.2; a weight that would change its sign stops at 0 (a proximal step)."""
    w = w.copy()
    for _ in range(steps):
        norm = float(np.abs(w[1:]).sum())
        first = SECOND_MOMENT * (w[0] - 1) + eps * FIRST_MOMENT * norm
        push = rate * (eps * FIRST_MOMENT * (w[0] - 1) + eps**2 * norm)
        rest = np.sign(w[1:]) * np.maximum(np.abs(w[1:]) - push, 0.0)
        w = np.concatenate([[w[0] - rate * first], rest])
    return w


def input_loss(x: Tensor, w: Tensor) -> Tensor:
    """Return 1/2 <x, w - w*>^2, 0-dim, for autograd."""
    residual = (x * (w - torch.from_numpy(true_weights(len(w))))).sum()
    return residual**2 / 2


def _expansions(w: Array, eps: float) -> tuple[float, float, float]:
    """Return the mean expansions of first and second order at Delta x, and the largest error of the closed derivatives."""
    values, shares = input_points()
    weights, step = torch.from_numpy(w), torch.from_numpy(attack_direction(w, eps))
    target = weights - torch.from_numpy(true_weights(len(w)))
    first = second = error = 0.0
    for value, share in zip(values, shares, strict=True):
        x = torch.zeros(len(w), dtype=torch.float64)
        x[0] = value
        loss = input_loss(x, weights)
        gradient = torch.autograd.functional.jacobian(lambda point: input_loss(point, weights), x)
        hessian = torch.autograd.functional.hessian(lambda point: input_loss(point, weights), x)
        residual = (x * target).sum()
        error = max(error, float((gradient - residual * target).abs().max()))
        error = max(error, float((hessian - torch.outer(target, target)).abs().max()))
        linear = loss + gradient @ step
        first += float(share * linear)
        second += float(share * (linear + step @ hessian @ step / 2))
    return first, second, error


def _constant_input_loss(eps: float, norm: float = 3.0) -> float:
    """Return 3.2 with X_1 = 1 at w_1 = 1 - eps ||w_{2:d}||_1: its minimum, 0, at weights that are not 0."""
    return robustified_loss(np.array([1 - eps * norm, norm]), eps, (np.ones(1), np.ones(1)))
