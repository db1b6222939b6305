"""kim2023, figures 5.1 and 5.6: one ascent step, a chain of ascent steps, and the gradients that multi-ascent SAM uses."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import (
    Protocol,
    Rows,
    drawn_rows,
    number_points,
    outcome_row,
    surface_rows,
)
from robustscape.theory.kim2023._toys import Array, Point, perturbed_point

WINDOW = ((-0.5, 1.9), (-0.7, 1.7))


def ascent_chain(
    *,
    radius: Annotated[float, Field(gt=0)] = 1.2,
    start: tuple[float, float] = (0.2, 0.4),
    ascents: Annotated[tuple[int, ...], Field(min_length=1)] = (1, 2, 3, 5),
    shown: Annotated[int, Field(ge=2)] = 5,
    points: Annotated[int, Field(ge=3)] = 45,
) -> list[dict[str, Any]]:
    """Return chains w^n = w^{n-1} + (rho / N) grad l / ||grad l|| (eq 5.5) on a toy loss whose gradient turns.

    The loss is a valley with a hill beside it: the direction of steepest ascent first climbs the side of the valley, then turns
    towards the hill. A chain ends inside the circle of radius rho (on it only if all its gradients are parallel), so the
    direction v_N is normalised before losses at the same distance are compared.

    Args:
        radius: rho, large, so that it can be seen.
        start: the weights w.
        ascents: chain lengths N whose losses are compared.
        shown: length N of the chain drawn in figure 5.1.
        points: number of grid points per side.
    """
    rows = []
    for number in ascents:
        path = ascent_points(start, radius, number)
        length = math.dist(path[0], path[-1])
        direction = (path[-1] - path[0]) / length
        end = np.asarray(start) + radius * direction
        own: Protocol = {"ascents": number, "radius": radius}
        rows += outcome_row("steps", "loss_at_the_end", toy_loss(*path[-1]), **own)
        rows += outcome_row("steps", "loss_along_v", toy_loss(*end), **own)
        rows += outcome_row("steps", "distance_reached", length / radius, **own)
    rows += outcome_row("steps", "loss_at_w", toy_loss(*start), ascents=0, radius=radius)
    rows += _one_and_many(start, radius, shown, points)
    rows += _multi_ascent(start, radius, points)
    return number_points(rows)


def toy_loss(x: Any, y: Any) -> Any:
    """Return x^2 / 20 + 3 y^2 / 5 + 2 exp(-2 (x - 7/5)^2 - 2 (y - 3/5)^2), elementwise."""
    return 0.05 * x**2 + 0.6 * y**2 + _hill(x, y)


def toy_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    """Return both partial derivatives, elementwise."""
    hill = _hill(x, y)
    return 0.1 * x - 4 * (x - 1.4) * hill, 1.2 * y - 4 * (y - 0.6) * hill


def _hill(x: Any, y: Any) -> Any:
    return 2 * np.exp(-2 * ((x - 1.4) ** 2 + (y - 0.6) ** 2))


def ascent_points(start: Point, radius: float, ascents: int) -> Array:
    """Return the points w^0 to w^N of eq 5.5, (N + 1, 2)."""
    points = [start]
    for _ in range(ascents):
        points.append(perturbed_point(toy_gradient, points[-1], radius / ascents, "normalised"))
    return np.array(points)


def _one_and_many(start: Point, radius: float, shown: int, points: int) -> Rows:
    """Return the rows of figure 5.1, seen from above."""
    view = "steps"
    rows = surface_rows(view, toy_loss, np.linspace(*WINDOW[0], points), np.linspace(*WINDOW[1], points))
    one, many = ascent_points(start, radius, 1), ascent_points(start, radius, shown)
    number = str(shown).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    rows += _arrows(view, np.stack([many[0], many[-1]]), f"direction of a chain of {shown}: v{number}")
    rows += _arrows(view, one, "one step: v₁")
    rows += _arrows(view, many, "steps of the chain")
    angle = np.linspace(-1, 1.6, 121)
    rows += drawn_rows(
        view, "path", start[0] + radius * np.cos(angle), start[1] + radius * np.sin(angle), text="radius"
    )
    rows += drawn_rows(view, "label", start[0] + 0.9 * radius, start[1] - 0.75 * radius, text="ρ")
    for text, place in (
        ("w", start),
        ("wᵖ¹", one[-1]),
        (f"wᵖ{shown}".translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")), many[-1]),
    ):
        rows += drawn_rows(view, "point", place[0], place[1], toy_loss(place[0], place[1]), text=text)
    return rows


def _multi_ascent(start: Point, radius: float, points: int) -> Rows:
    """Return the rows of figure 5.6: the chain of two on the surface, and the gradients that both methods use."""
    view = "multi"
    path = ascent_points(start, radius, 2)
    x, y = np.linspace(*WINDOW[0], points), np.linspace(*WINDOW[1], points)
    surface_panel, plane_panel = "on the loss surface", "gradients used for the update"
    rows = surface_rows(view, toy_loss, x, y)
    fine = np.concatenate([np.linspace(a, b, 20) for a, b in pairwise(path)])
    rows += drawn_rows(
        view,
        "path",
        fine[:, 0],
        fine[:, 1],
        toy_loss(fine[:, 0], fine[:, 1]),
        panel=surface_panel,
        method="ascent, N = 2",
    )
    rows += _arrows(view, path, "ascent, N = 2", panel=plane_panel)
    used = {n: np.array(toy_gradient(*path[n])) for n in (1, 2)}
    scale = 0.55 * radius / max(float(np.hypot(*g)) for g in used.values())
    mean = (used[1] + used[2]) / 2
    for method, gradient in (("SAM with N = 2: −∇ℓ(w²)", used[2]), ("multi-ascent SAM: their mean", mean)):
        rows += _arrows(
            view, np.stack([path[0], path[0] - scale * gradient]), method, panel=plane_panel, metric="update"
        )
    for number, gradient in used.items():
        rows += _arrows(
            view,
            np.stack([path[number], path[number] - scale * gradient]),
            "−∇ℓ at the chain's points",
            panel=plane_panel,
        )
    for text, place in (("w", path[0]), ("w¹", path[1]), ("w²", path[2])):
        rows += drawn_rows(view, "point", place[0], place[1], toy_loss(place[0], place[1]), text=text)
    cosine = float(used[1] @ used[2] / (np.hypot(*used[1]) * np.hypot(*used[2])))
    return rows + outcome_row(view, "gradient_cosine", cosine, radius=radius)


def _arrows(view: str, path: Array, method: str, **more: Any) -> Rows:
    step, (x, y) = np.diff(path, axis=0), path[:-1].T
    return drawn_rows(view, "arrow", x, y, toy_loss(x, y), dx=step[:, 0], dy=step[:, 1], method=method, **more)
