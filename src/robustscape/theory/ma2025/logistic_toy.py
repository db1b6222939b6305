"""ma2025 section 3.3.4: in logistic regression the regularisers of a confident model vanish while its attacked loss grows."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.theory.rows import check_row


def logistic_toy(
    *,
    dimension: Annotated[int, Field(ge=2)] = 8,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    draws: Annotated[int, Field(ge=10)] = 200,
    scales: list[Annotated[float, Field(ge=1)]] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 200.0],  # noqa: B006  (a schema)
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check derivatives, the second-order maximum in L2, masking, and the mean-value form of the expansion.

    Gradient r w and Hessian u w w^T with r = f - y and u = f (1 - f); max over ||delta||_2 <= eps of the second-order expansion
    l + eps |r| ||w|| + eps^2/2 u ||w||^2, at eps sign(r) w/||w||, against a search over random perturbations. Masking: weights
    are scaled by c on points that are classified correctly. Both terms of the regulariser go to 0 (the first rises at first,
    where the margin is small), while the loss at the attacked point grows without bound where the margin is below eps, and
    falls to 0 where it is above. Mean value: some h in (0, 1) makes l + g^T delta + delta^T Hess(x + h delta) delta / 2 exact.

    Args:
        dimension: d.
        eps: size of the perturbation.
        draws: random points and weights.
        scales: factors c on the weights, rising.
        seed: of the points.
    """
    generator = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(draws, dimension, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.randint(2, (draws,), generator=generator).double()
    protocol = {"dimension": dimension, "eps": eps, "draws": draws}
    slopes, curvatures = derivatives(x, w, y)
    error = 0.0
    for i in range(draws):
        gradient = torch.autograd.functional.jacobian(lambda point, i=i: logistic_loss(point, w[i], y[i]), x[i])
        hessian = torch.autograd.functional.hessian(lambda point, i=i: logistic_loss(point, w[i], y[i]), x[i])
        error = max(error, float((gradient - slopes[i] * w[i]).abs().max()))
        error = max(error, float((hessian - curvatures[i] * torch.outer(w[i], w[i])).abs().max()))
    best = second_order_maximum(x, w, y, eps) - logistic_loss(x, w, y)
    found, beyond = torch.full((draws,), -math.inf, dtype=torch.float64), -math.inf
    for number in range(200):
        delta = torch.randn(draws, dimension, generator=generator, dtype=torch.float64)
        if number % 2:  # along w, where the maximum is
            delta = w * (1 if number % 4 == 1 else -1)
        delta = eps * delta / delta.norm(dim=1, keepdim=True) * (1.0 if number < 4 else number / 200)
        along = (delta * w).sum(1)
        value = slopes * along + curvatures * along**2 / 2
        found, beyond = torch.maximum(found, value), max(beyond, float((value - best).max()))
    rows = [
        check_row("derivatives", "largest error", error, "==", 0.0, tolerance=1e-9, **protocol),
        check_row(
            "second-order maximum", "largest excess of a perturbation", beyond, "<=", 0.0, tolerance=1e-9, **protocol
        ),
        check_row(
            "second-order maximum", "largest gap", float((best - found).max()), "==", 0.0, tolerance=1e-9, **protocol
        ),
    ]
    return [*rows, *_masking_rows(scales, eps, protocol), *_mean_value_rows(x, w, y, generator, protocol)]


def logistic_loss(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return log(1 + exp(-(2 y - 1) <w, x>)) of inputs and weights (..., d)."""
    return F.softplus(-(2 * y - 1) * (x * w).sum(-1))


def derivatives(x: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return r = f - y and u = f (1 - f) with f = phi(<w, x>): the gradient is r w, the Hessian u w w^T."""
    f = torch.sigmoid((x * w).sum(-1))
    return f - y, f * (1 - f)


def second_order_maximum(x: Tensor, w: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return l + eps |r| ||w|| + eps^2/2 u ||w||^2."""
    slope, curvature = derivatives(x, w, y)
    norm = w.norm(dim=-1)
    return logistic_loss(x, w, y) + eps * slope.abs() * norm + eps**2 / 2 * curvature * norm**2


def _masking_rows(scales: list[float], eps: float, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for a direction of weights and points at margins of a fifth of eps and of twice eps."""
    w = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    y = torch.ones(1, dtype=torch.float64)
    rows = []
    for share in (0.2, 2.0):
        x = share * eps * w  # margin <w, x> / ||w|| = share eps
        terms, attacked = [], []
        for c in scales:
            terms.append(float(second_order_maximum(x, c * w, y, eps) - logistic_loss(x, c * w, y)))
            attacked.append(float(logistic_loss(x - eps * w, c * w, y)))
        shared = {**protocol, "margin_over_eps": share, "scale": scales[-1]}
        rows.append(check_row("regulariser vanishes", "at the largest scale", terms[-1], "<=", 0.05, **shared))
        if share < 1:
            expected = scales[-1] * (1 - share) * eps
            rows += [
                check_row("regulariser first rises", "largest over the first", max(terms), ">", terms[0], **shared),
                check_row("masked loss", "attacked loss", attacked[-1], ">=", expected, tolerance=1e-9, **shared),
            ]
        else:
            rows.append(check_row("safe points", "attacked loss", attacked[-1], "<=", 1e-6, **shared))
    return rows


def _mean_value_rows(
    x: Tensor, w: Tensor, y: Tensor, generator: torch.Generator, protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row of the largest error left by the best h of (0, 1), found on a grid and by bisection of a sign change."""
    delta = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    along = (delta * w).sum(1)
    slope, _ = derivatives(x, w, y)
    target = logistic_loss(x + delta, w, y) - logistic_loss(x, w, y) - slope * along

    def gap(h: Tensor) -> Tensor:
        _, curvature = derivatives(x + h[:, None] * delta, w, y)
        return curvature * along**2 / 2 - target

    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    values = torch.stack([gap(h.expand(len(x))) for h in grid])
    changes = values[:-1].sign() != values[1:].sign()
    first = changes.double().argmax(0)
    low, high = grid[first], grid[first + 1]
    for _ in range(60):
        middle = (low + high) / 2
        same = gap(middle).sign() == gap(low).sign()
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    error = gap(high).abs()
    missing = float((~changes.any(0)).sum())
    return [
        check_row("mean value", "points without an h", missing, "==", 0.0, **protocol),
        check_row("mean value", "largest error", float(error.max()), "==", 0.0, tolerance=1e-9, **protocol),
    ]
