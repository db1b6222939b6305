"""liu2020, the sketch of non-convex losses (figure 3): a larger budget makes the same minimum sharper.

The work gives no formula. Here the maximum is over shifts of the parameter, g_eps(t) = max_{|d| <= eps} g(t + d), of

    g(t) = 0.15 t^2 + 0.5 sin(3 t)
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Array = NDArray[np.float64]

#: Step h of the second difference.
STENCIL = 0.02


def vanilla_loss(theta: Array) -> Array:
    """Return g(theta), elementwise."""
    return 0.15 * theta**2 + 0.5 * np.sin(3.0 * theta)


def worst_shifted_loss(theta: Array, eps: float, shifts: int = 201) -> Array:
    """Return g_eps(theta), elementwise, as the maximum over a grid of shifts from -eps to eps, both included.

    Around a minimum of g the maximum is at one of the two ends, so there it is exact.
    """
    return vanilla_loss(theta[..., None] + np.linspace(-eps, eps, shifts)).max(-1)


def worst_loss_curvature(theta: float, eps: float) -> float:
    """Return (g_eps(t + h) + g_eps(t - h) - 2 g_eps(t)) / h^2 at t = ``theta``."""
    left, middle, right = worst_shifted_loss(np.array([theta - STENCIL, theta, theta + STENCIL]), eps)
    return float((left + right - 2 * middle) / STENCIL**2)


def sharper_minima(
    *,
    eps_values: list[float] = [0.0, 0.1, 0.3],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    points: Annotated[int, Field(ge=3)] = 301,
    span: Annotated[float, Field(gt=0)] = 3.0,
) -> list[dict[str, Any]]:
    """Return rows ``loss`` on a grid of theta for each eps, and per eps one row each of minimiser and curvature_at_minimum.

    Args:
        eps_values: values of eps; 0 is the vanilla loss.
        points: number of values of theta.
        span: theta runs from -span to span.
    """
    theta = np.linspace(-span, span, points)
    fine = np.linspace(-span, span, 6001)
    rows: list[dict[str, Any]] = []
    for eps in eps_values:
        rows += [
            {"eps": eps, "theta": t, "metric": "loss", "value": v, "unit": "1"}
            for t, v in zip(theta.tolist(), worst_shifted_loss(theta, eps).tolist(), strict=True)
        ]
        at = float(fine[worst_shifted_loss(fine, eps).argmin()])
        rows += [
            {"eps": eps, "theta": None, "metric": metric, "value": value, "unit": "1"}
            for metric, value in (("minimiser", at), ("curvature_at_minimum", worst_loss_curvature(at, eps)))
        ]
    return rows
