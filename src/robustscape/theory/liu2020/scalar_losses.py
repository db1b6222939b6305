"""liu2020, the scalar toy of figure 2: vanilla and adversarial loss of log(1 + exp(theta x)) at x = 1.

Everything here comes from the definition, a maximum over a grid of x', and not from the closed form of ``_scalar_toy``: its
derivatives and its minimum are what the claims compare with (1 +- eps) / 2 and log 2.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _scalar_toy as toy

#: Values of x' in the budget. An odd number: both ends and x = 1.
INPUTS = 201

#: Step of the one-sided difference quotients at 0.
STEP = 1e-7


def searched_loss(theta: toy.Array, eps: float) -> toy.Array:
    """Return max over |x' - 1| <= eps of log(1 + exp(theta x')), in nats, for theta (n,) or 0-dim."""
    return toy.vanilla_loss(theta[..., None], np.linspace(1.0 - eps, 1.0 + eps, INPUTS)).max(-1)


def scalar_losses(
    *,
    eps_values: list[float] = [0.6, 1.2],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    points: Annotated[int, Field(ge=3)] = 121,
    span: Annotated[float, Field(gt=0)] = 3.0,
) -> list[dict[str, Any]]:
    """Return rows ``loss`` (nats) of the curves "vanilla" and "adversarial" on a grid of theta, for each eps.

    The adversarial curve also has one row each of left_derivative and right_derivative at 0 (one-sided difference quotients),
    smallest_rise (between neighbouring values of theta), minimiser and minimum over [-span, span] (by ternary search; the
    loss is convex). Where the loss only rises, the minimiser is -span.

    Args:
        eps_values: values of eps.
        points: number of values of theta; an even number is raised by one, so that 0 is among them.
        span: theta runs from -span to span.
    """
    theta = np.linspace(-span, span, points + 1 - points % 2)
    rows: list[dict[str, Any]] = []
    for eps in eps_values:
        for curve, attack_eps in (("vanilla", 0.0), ("adversarial", eps)):
            values = searched_loss(theta, attack_eps).tolist()
            rows += [
                {"eps": eps, "curve": curve, "theta": t, "metric": "loss", "value": v, "unit": "nats"}
                for t, v in zip(theta.tolist(), values, strict=True)
            ]
        left, middle, right = searched_loss(np.array([-STEP, 0.0, STEP]), eps).tolist()
        found = {
            "left_derivative": (middle - left) / STEP,
            "right_derivative": (right - middle) / STEP,
            "smallest_rise": float(np.diff(searched_loss(theta, eps)).min()),
        }
        found["minimiser"] = _minimiser(eps, span)
        found["minimum"] = float(searched_loss(np.array(found["minimiser"]), eps))
        rows += [
            {"eps": eps, "curve": "adversarial", "theta": None, "metric": metric, "value": value, "unit": "1"}
            for metric, value in found.items()
        ]
    return rows


def _minimiser(eps: float, span: float) -> float:
    """Return the theta in [-span, span] with the least loss, by ternary search."""
    low, high = -span, span
    while high - low > 1e-10:
        third = (high - low) / 3
        first, second = searched_loss(np.array([low + third, high - third]), eps)
        low, high = (low, high - third) if first <= second else (low + third, high)
    return 0.5 * (low + high)
