"""kanai2022, figures 2, 4 and 5: the loss over two weights, clean, under attack, and as Entropy-SGD sees it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from robustscape.errors import ConfigError
from robustscape.theory.kanai2022._local_entropy import (
    Array,
    Loss,
    largest_second_difference,
    local_entropy,
    weight_grid,
)
from robustscape.theory.kanai2022._swish_pgd import swish_pgd_losses
from robustscape.theory.kanai2022._two_weight_losses import DATA, worst_loss


def surface(
    *,
    data: Literal["datum", "first_feature"] = "datum",
    model: Literal["linear", "swish"] = "linear",
    attack: Literal["none", "L2", "Linf"] = "none",
    eps: Annotated[float, Field(gt=0)] = 0.3,
    gamma: Annotated[float, Field(gt=0)] | None = None,
    found_by: Literal["exact", "pgd"] = "exact",
    span: Annotated[float, Field(gt=0)] = 3.0,
    points: Annotated[int, Field(ge=3)] = 101,
    steps: tuple[Annotated[float, Field(gt=0)], ...] = (0.025, 0.0125, 0.00625),
) -> list[dict[str, Any]]:
    """Return the loss at points x points weights of a window, its lowest point, and its largest second differences.

    Rows: ``loss`` (nats) at theta_1, theta_2; best_theta_1 and best_theta_2, the weights of lowest loss in the window (those
    nearest to 0 if there are several); largest_second_difference |f(t + h) - 2 f(t) + f(t - h)| / h^2 along either axis for each
    ``grid_step`` h, on grids with a node at 0 ("on") and shifted by half a step ("beside"): it converges where the loss is smooth
    and doubles as h halves where the gradient jumps. second_difference_across is the same where ``weight``, the first or the
    second, passes 0 and the absolute value of the other is at least 1.

    Args:
        data: "datum": x = (1, 0.5), y = +1; "first_feature": (+-1, +-0.5), y = sign(x_1). Those of the work are lost.
        model: z = theta.x, or swish(z).
        attack: norm of the attack, or "none".
        eps: perturbation budget.
        gamma: gamma of the Entropy-SGD objective of that loss; None: the loss itself.
        found_by: "exact", or "pgd": the rows ``loss`` are found by PGD (swish model on the datum only).
        span: the window is [-span, span]^2.
        points: number of nodes per side.
        steps: grid steps of the second differences.
    """
    exact = worst_loss(model, data, attack, eps)
    axis = np.linspace(-span, span, points)
    axis[np.abs(axis) < 1e-12] = 0.0
    if found_by == "pgd":
        if model != "swish" or attack == "none" or DATA[data][1] != (1.0,) or gamma is not None:
            raise ConfigError("kanai2022/surface: PGD draws the attacked loss of the swish model on the datum only.")
        heights = swish_pgd_losses(axis, DATA[data][0][0], attack, eps)
    else:
        heights = _loss_on_grid(exact, gamma, axis)
    protocol = {"model": model, "attack": attack, "attack_eps": eps, "gamma": gamma, "found_by": found_by, "span": span}
    rows = [
        {"theta_1": one, "theta_2": two, "metric": "loss", "value": value, "unit": "nats"}
        for one, line in zip(axis.tolist(), heights.tolist(), strict=True)
        for two, value in zip(axis.tolist(), line, strict=True)
    ]
    rows += _lowest_point_rows(_loss_on_grid(exact, gamma, weight_grid(span, steps[0])), weight_grid(span, steps[0]))
    for step in steps:
        for nodes, straddling in (("on", False), ("beside", True)):
            side = weight_grid(span, step, straddling=straddling)
            values = _loss_on_grid(exact, gamma, side)
            found: dict[int | None, tuple[str, float]] = {
                None: ("largest_second_difference", largest_second_difference(values, step))
            }
            if not straddling:
                found |= {
                    w: ("second_difference_across", _second_difference_across(v, side, step))
                    for w, v in ((1, values), (2, values.T))
                }
            rows += [
                {"grid_step": step, "nodes": nodes, "weight": weight, "metric": metric, "value": value, "unit": "1"}
                for weight, (metric, value) in found.items()
            ]
    empty = {"theta_1": None, "theta_2": None, "grid_step": None, "nodes": None, "weight": None}
    return [{**protocol, **empty, **row} for row in rows]


def _loss_on_grid(loss: Loss, gamma: float | None, side: Array) -> Array:
    """Return the loss, or its Entropy-SGD objective if there is a gamma, at the weights side x side, (n, n)."""
    return loss(side[:, None], side[None, :]) if gamma is None else local_entropy(loss, gamma, side, side)


def _second_difference_across(values: Array, side: Array, step: float) -> float:
    """Return the largest second difference across 0 of the first axis where the second coordinate is at least 1 in size."""
    zero = len(side) // 2
    bends = values[zero + 1] - 2 * values[zero] + values[zero - 1]
    return float(np.abs(bends[np.abs(side) >= 1]).max()) / step**2


def _lowest_point_rows(heights: Array, side: Array) -> list[dict[str, Any]]:
    """Return the rows of the lowest node; among equal heights (to 1e-12) the one of least |theta_1| + |theta_2|."""
    size = np.abs(side)[:, None] + np.abs(side)[None, :]
    place = np.where(heights <= heights.min() + 1e-12, size, np.inf)
    one, two = np.unravel_index(int(place.argmin()), heights.shape)
    return [
        {"metric": "best_theta_1", "value": float(side[one]), "unit": "1"},
        {"metric": "best_theta_2", "value": float(side[two]), "unit": "1"},
    ]
