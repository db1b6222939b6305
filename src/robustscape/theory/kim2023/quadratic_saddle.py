"""kim2023, figure 4.5: on x^2 - y^2, SAM turns the saddle into an attractor once rho exceeds 1/2."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import (
    Protocol,
    Rows,
    drawn_rows,
    evenly_spaced_indices,
    number_points,
    outcome_row,
    surface_rows,
)
from robustscape.theory.kim2023._toys import Path, Rule, quadratic, quadratic_gradient, sam_path

WINDOW = (-3.5, 3.5)


def quadratic_saddle(
    *,
    radius: Annotated[float, Field(gt=0)] = 1.0,
    eta: Annotated[float, Field(gt=0)] = 0.01,
    offset: Annotated[float, Field(gt=0)] = 0.01,
    steps: Annotated[int, Field(ge=100)] = 2000,
    radii: Annotated[tuple[float, ...], Field(min_length=1)] = (0.3, 0.45, 0.49, 0.51, 0.55, 1.0),
    points: Annotated[int, Field(ge=3)] = 31,
) -> list[dict[str, Any]]:
    """Return paths from (-3, -offset), the flows of GD and SAM, and the eigenvalues lambda + rho lambda^2 over rho.

    The figure uses the constant radius. Under the normalised rule, which theorem 4.2 does not cover, SAM stays at the saddle for
    every radius, in a cycle of size eta rho |lambda|.

    Args:
        radius: rho of the figure.
        eta: learning rate; the work gives none.
        offset: distance of the start from the stable manifold y = 0.
        steps: number of updates; a path ends when it leaves the picture.
        radii: further constant radii below and above the threshold 1/2.
        points: number of grid points per side.
    """
    start = (-3.0, -offset)

    def run(rho: float, rule: Rule) -> Path:
        return sam_path(quadratic_gradient, start, eta=eta, steps=steps, radius=rho, rule=rule, within=10.0)

    protocol: Protocol = {"eta": eta, "steps": steps}
    view = "saddle"
    a = "(a) paths from (−3, −ε)"
    settings: tuple[tuple[str, float, Rule], ...] = (
        ("GD", 0.0, "constant"),
        ("SAM, normalised", radius, "normalised"),
        ("SAM", radius, "constant"),
    )
    side = np.linspace(*WINDOW, points)
    rows = surface_rows(view, quadratic, side, side, panel=a)
    for method, rho, rule in settings:
        path = run(rho, rule)
        inside = path.weights[(np.abs(path.weights) <= WINDOW[1]).all(axis=1)]
        x, y = inside[evenly_spaced_indices(len(inside), 200)].T
        own = {**protocol, "radius": rho, "rule": rule} if rho else protocol
        rows += drawn_rows(view, "path", x, y, quadratic(x, y), panel=a, method=method, **own)
        rows += outcome_row(view, "distance_to_saddle", math.hypot(*path.weights[-1]), method=method, **own)
        rows += outcome_row(view, "largest_y", np.abs(path.weights[:, 1]).max(), method=method, **own)
    rows += drawn_rows(view, "point", *start, quadratic(*start), text="start", panel=a)
    rows += drawn_rows(view, "point", 0, 0, 0, text="saddle", panel=a)
    rows += _flows(view, radius, points)
    for rho in radii:
        ratio = run(rho, "constant").weights[-1, 1] / start[1]
        rows += outcome_row(view, "growth_of_y", abs(ratio), method="SAM", radius=rho, rule="constant", **protocol)
    return number_points(rows + _eigenvalues(view, radius, run, start[1], protocol))


def _flows(view: str, radius: float, points: int) -> Rows:
    """Return the rows of panels b and c: minus the gradient at w, and at w + rho times the gradient."""
    side = np.linspace(-1.5, 1.5, points)
    across, up = np.meshgrid(side, side)
    rows = []
    for panel, rho in (("(b) flow of GD", 0.0), (f"(c) flow of SAM, ρ = {radius:g}", radius)):
        right, above = quadratic_gradient(across, up)
        right, above = quadratic_gradient(across + rho * right, up + rho * above)
        speed = np.hypot(right, above)
        rows += drawn_rows(view, "flow", across, up, speed, dx=-right, dy=-above, panel=panel, metric="speed")
        rows += drawn_rows(view, "point", 0, 0, 0, text="saddle", panel=panel)
    return rows


def contraction_rate(axis: int, radius: float, eta: float) -> float:
    """Return the eigenvalue of SAM's dynamics along axis 1 or 2: 1 - w_1 / w_0 of a step from that axis, over eta."""
    start = (1.0, 0.0) if axis == 1 else (0.0, 1.0)
    path = sam_path(quadratic_gradient, start, eta=eta, steps=1, radius=radius, rule="constant")
    return float(1 - path.weights[1, axis - 1]) / eta


def saddle_eigenvalues() -> list[float]:
    """Return the eigenvalues of the Hessian at the saddle, the larger first, from differences of the gradient along each axis."""
    step = 0.5  # the gradient is linear, so that the differences are exact
    ends = [(quadratic_gradient(step, 0.0), quadratic_gradient(-step, 0.0))]
    ends.append((quadratic_gradient(0.0, step), quadratic_gradient(0.0, -step)))
    hessian = np.array([[(above - below) / (2 * step) for above, below in zip(*pair, strict=True)] for pair in ends])
    return sorted(np.linalg.eigvalsh(hessian).tolist(), reverse=True)


def _eigenvalues(view: str, radius: float, run: Any, offset: float, protocol: dict[str, Any]) -> Rows:
    """Return lambda + rho lambda^2 over rho, the rates at which SAM moves, and the least radius that traps it, by bisection.

    The numbers beside the printed ones are computed: the Hessian's from the gradient, and the rates from one step of SAM along
    each axis, which shrinks that coordinate by eta times the eigenvalue of the linearised dynamics.
    """
    panel, metric = "(d) SAM's eigenvalues", "lambda_plus_rho_lambda_squared"
    rows, rho = [], np.linspace(0, 1.2 * radius, 13)
    for number, value in enumerate(saddle_eigenvalues(), 1):
        label = f"λ = {value:g}".replace("-", "−")
        rows += drawn_rows(view, "curve", rho, 0.0, value + rho * value**2, panel=panel, method=label, metric=metric)
        rows += outcome_row(view, f"hessian_eigenvalue_{number}", value, method="GD")
        rows += [
            {**row, "radius": radius}
            for row in drawn_rows(
                view,
                "dots",
                radius,
                0.0,
                contraction_rate(number, radius, protocol["eta"]),
                panel=panel,
                method="SAM",
                metric=f"lambda+rho*lambda^2 (eig {number})",
            )
        ]
    low, high = 0.0, 2.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        stays = abs(run(middle, "constant").weights[-1, 1]) < abs(offset)
        low, high = (low, middle) if stays else (middle, high)
    threshold = (low + high) / 2
    rows += drawn_rows(
        view, "point", threshold, 0, 0, text="threshold", panel=panel, method="threshold", metric="found_threshold"
    )
    return rows + outcome_row(view, "attractor_threshold_rho", threshold, method="SAM", **protocol)
