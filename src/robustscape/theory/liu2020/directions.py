"""liu2020, section 2 (linear model): the propositions about good and bad directions of the linear model, against brute force."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _linear_model as linear
from robustscape.theory.rows import check_row


def directions(
    *,
    inputs: Annotated[int, Field(ge=1, le=12)] = 4,
    classes: Annotated[int, Field(ge=3)] = 3,
    draws: Annotated[int, Field(ge=10)] = 300,
    eps_values: list[float] = [0.0, 0.1, 0.2, 0.4, 0.7],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare the closed forms of V_eps and T_eps with enumeration of the box's corners and a search along the line cW.

    Further checks: both families are nested (P1, T1), V_eps is a convex cone, the loss vanishes along its directions (P2), g_eps
    is convex in W (a maximum of convex functions, one per corner), and for eps >= eps_bar = ||x||_inf every direction is in T_eps
    and W = 0 minimises g_eps (T2).

    Args:
        inputs: m, the length of x; 2^m corners are enumerated.
        classes: K.
        draws: number of random matrices W.
        eps_values: values of eps, ascending.
        seed: seed of x and W.
    """
    x, weights = linear.random_linear_model(inputs, classes, draws, seed)
    bar = float(np.abs(x).max())
    steps = np.geomspace(1e-4, 10.0, 301)
    shared = {"inputs": inputs, "classes": classes, "draws": draws, "seed": seed}
    rows = []

    def count(check: str, quantity: str, disagreements: linear.Mask, **more: Any) -> None:
        rows.append(check_row(check, quantity, float(disagreements.sum()), "==", 0.0, **shared, **more))

    for eps in eps_values:
        good = linear.is_good_direction(x, weights, eps)
        enumerated = np.all(linear.class_differences(weights) @ linear.box_corners(x, eps).T <= 1e-12, axis=(1, 2))
        count("V closed form", "directions it puts elsewhere than the corners do", good != enumerated, eps=eps)
        for half_line in (False, True):
            bad = linear.is_bad_direction(x, weights, eps, half_line=half_line)
            searched = linear.bad_by_search(x, weights, eps, steps, half_line=half_line)
            name = "directions it puts elsewhere than a search along c does"
            count("T closed form", name, bad != searched, eps=eps, half_line=half_line)
    for low, high in itertools.pairwise(eps_values):
        lost = linear.is_good_direction(x, weights, high) & ~linear.is_good_direction(x, weights, low)
        count("P1 nested", "good at the larger eps, not at the smaller", lost, eps=high)
        lost = linear.is_bad_direction(x, weights, low) & ~linear.is_bad_direction(x, weights, high)
        count("T1 nested", "bad at the smaller eps, not at the larger", lost, eps=high)

    for eps in eps_values:
        inside = weights[linear.is_good_direction(x, weights, eps)]
        if not len(inside):
            continue
        mixed = 0.3 * inside + 0.9 * inside[::-1]
        count(
            "V is a convex cone",
            "sums of good directions that are not good",
            ~linear.is_good_direction(x, mixed, eps),
            eps=eps,
        )
        widest = (linear.class_differences(inside) @ x + eps * np.abs(linear.class_differences(inside)).sum(-1)).max(1)
        strict = inside[widest < -1e-6]
        if len(strict):
            scaled = strict * (50.0 / -widest[widest < -1e-6])[:, None, None]
            limit = float(linear.worst_corner_losses(x, scaled, eps).max())
            rows.append(check_row("P2 vanishes", "largest loss far along", limit, "<=", 1e-12, **shared, eps=eps))

    for eps in eps_values:
        ends = linear.worst_corner_losses(x, weights, eps)
        middle = linear.worst_corner_losses(x, 0.5 * (weights + weights[::-1]), eps)
        above = middle > 0.5 * (ends + ends[::-1]) + 1e-12
        count("g is convex in W", "midpoints above the mean of their ends", above, eps=eps)

    for eps in (bar, 1.5 * bar):
        count("T2 everything is bad", "directions that are not bad", ~linear.is_bad_direction(x, weights, eps), eps=eps)
        least = float(linear.worst_corner_losses(x, weights, eps).min())
        name, limit = "smallest loss of a direction", float(np.log(classes))
        rows.append(check_row("T2 everything is bad", name, least, ">=", limit, tolerance=1e-12, **shared, eps=eps))
    below = 0.99 * bar
    aligned = np.zeros((1, classes, inputs))
    aligned[0, 0, np.abs(x).argmax()] = np.sign(x[np.abs(x).argmax()])  # only the largest coordinate, with its sign
    free = float(linear.is_bad_direction(x, aligned, below).sum())
    rows.append(
        check_row("T2 eps_bar is sharp", "bad directions just below eps_bar", free, "==", 0.0, **shared, eps=below)
    )
    return rows
