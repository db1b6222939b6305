"""liu2020, the scalar toy of figure 2: vanilla and adversarial loss of log(1 + exp(theta x)) at x = 1."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _scalar_toy as toy


def scalar_losses(
    *,
    eps_values: list[float] = [0.6, 1.2],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    points: Annotated[int, Field(ge=3)] = 121,
    span: Annotated[float, Field(gt=0)] = 3.0,
) -> list[dict[str, Any]]:
    """Return rows ``loss`` (nats) of the curves "vanilla" and "adversarial" on a grid of theta, for each eps.

    The adversarial curve also has one row each of left_derivative and right_derivative at 0, smallest_rise (between
    neighbouring values of theta), minimiser and minimum. The last two come from bisection of the slope of the closed form; they
    are left out where the loss only rises.

    Args:
        eps_values: values of eps.
        points: number of values of theta; an even number is raised by one, so that 0 is among them.
        span: theta runs from -span to span.
    """
    theta = np.linspace(-span, span, points + 1 - points % 2)
    rows: list[dict[str, Any]] = []
    for eps in eps_values:
        for curve, attack_eps in (("vanilla", 0.0), ("adversarial", eps)):
            values = toy.adversarial_loss(theta, attack_eps).tolist()
            rows += [
                {"eps": eps, "curve": curve, "theta": t, "metric": "loss", "value": v, "unit": "nats"}
                for t, v in zip(theta.tolist(), values, strict=True)
            ]
        rises = float(np.diff(toy.adversarial_loss(theta, eps)).min())
        found = {
            "left_derivative": _left_derivative(eps),
            "right_derivative": float(toy.adversarial_slope(np.array(0.0), eps)),
        }
        found["smallest_rise"] = rises
        if (at := _minimiser(eps)) is not None:
            found |= {"minimiser": at, "minimum": float(toy.adversarial_loss(np.array(at), eps))}
        rows += [
            {"eps": eps, "curve": "adversarial", "theta": None, "metric": metric, "value": value, "unit": "1"}
            for metric, value in found.items()
        ]
    return rows


def _left_derivative(eps: float) -> float:
    """Return the derivative just left of 0, where the worst input is 1 - eps."""
    return float(toy.adversarial_slope(np.array(-1e-300), eps))


def _minimiser(eps: float, far: float = 1e3) -> float | None:
    """Return the theta at which the slope changes its sign, by bisection on [-far, far]; None if it does not."""
    low, high = -far, far
    if toy.adversarial_slope(np.array(low), eps) > 0 or toy.adversarial_slope(np.array(high), eps) < 0:
        return None
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if toy.adversarial_slope(np.array(middle), eps) < 0 else (low, middle)
    return 0.5 * (low + high)
