"""kim2023, figure 4.6: where lambda + rho lambda^2 is positive on Beale's function, and whether SAM stays at the saddle then."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import drawn_rows, number_points, outcome_row
from robustscape.theory.kim2023._toys import BEALE_SADDLE, Point, beale_gradient, beale_hessian, sam_path

WINDOW = ((-3.4, 3.8), (-1.2, 2.0))
#: Distance from the saddle at which SAM starts, along the unstable direction of gradient descent.
OFFSET = 1e-4


def attractor_map(
    *,
    radii: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.5),
    at_saddle: Annotated[tuple[float, ...], Field(min_length=1)] = (0.01, 0.03, 0.036, 0.0361, 0.04, 0.05, 0.1, 0.5),
    near: Annotated[float, Field(gt=0)] = 0.1,
    eta: Annotated[float, Field(gt=0)] = 1e-4,
    steps: Annotated[int, Field(ge=1)] = 20_000,
    points: Annotated[int, Field(ge=3)] = 61,
) -> list[dict[str, Any]]:
    """Return maps of lambda_i + rho lambda_i^2, i = 1, 2 (lambda_1 <= lambda_2), and their values at and near the saddle (0, 1).

    Beside the values at the saddle stands what SAM with that constant radius does: distance_kept, its distance from the saddle
    after ``steps`` steps, or when it has left the neighbourhood, over the distance it started at. By theorem 4.2 it falls
    below 1 exactly where both values are positive, and attractor_threshold_rho, found by bisection of simulated paths, is
    1/27.75.

    Args:
        radii: values of rho of the maps: the constant and the normalised radius of figure 4.1.
        at_saddle: values of rho at the saddle; by theorem 4.2 the threshold is 1/27.75 = 0.03604.
        near: radius of the neighbourhood of the saddle whose smallest value is given.
        eta: learning rate of the simulated paths, that of figure 4.1.
        steps: number of updates of the simulated paths.
        points: number of grid points per side.
    """
    view, metric = "map", "lambda_plus_rho_lambda_squared"
    across, up = np.meshgrid(np.linspace(*WINDOW[0], points), np.linspace(*WINDOW[1], points))
    eigenvalues = np.linalg.eigvalsh(beale_hessian(across, up))
    there = np.linalg.eigvalsh(beale_hessian(*BEALE_SADDLE))
    rows = []
    for rho in radii:
        for number in (1, 2):
            value = eigenvalues[..., number - 1]
            panel = f"λ{'₁₂'[number - 1]} + ρ λ{'₁₂'[number - 1]}²,  ρ = {rho:g}"
            rows += drawn_rows(view, "surface", across, up, value + rho * value**2, panel=panel, metric=metric, rho=rho)
            rows += outcome_row(
                view, "least_near_the_saddle", _least_around(BEALE_SADDLE, near, rho, number), number=number, rho=rho
            )
    rows += drawn_rows(view, "point", *BEALE_SADDLE, text="saddle", metric=metric)
    for rho in at_saddle:
        for number, value in enumerate(there, 1):
            rows += outcome_row(view, "at_the_saddle", value + rho * value**2, number=number, rho=rho)
        rows += outcome_row(view, "distance_kept", distance_kept(rho, eta, steps), rho=rho, eta=eta, steps=steps)
    low, high = 0.0, 0.1
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if distance_kept(middle, eta, steps) < 1 else (middle, high)
    rows += outcome_row(view, "attractor_threshold_rho", (low + high) / 2, eta=eta, steps=steps)
    return number_points(rows)


def _least_around(place: Point, distance: float, rho: float, number: int) -> float:
    """Return the smallest lambda_number + rho lambda_number^2 within ``distance`` of a point, on a grid of 21 x 21."""
    side = np.linspace(-distance, distance, 21)
    across, up = np.meshgrid(side, side)
    inside = np.hypot(across, up) <= distance
    eigenvalues = np.linalg.eigvalsh(beale_hessian(place[0] + across[inside], place[1] + up[inside]))
    value = eigenvalues[:, number - 1]
    return float((value + rho * value**2).min())


def distance_kept(rho: float, eta: float, steps: int) -> float:
    """Return how far from Beale's saddle SAM is in the end, over ``OFFSET``, where it started; at most about 100.

    The start lies on the eigenvector (1, -1) of the negative eigenvalue, along which gradient descent leaves.
    """

    def around_the_saddle(x: Any, y: Any) -> tuple[Any, Any]:
        return beale_gradient(BEALE_SADDLE[0] + x, BEALE_SADDLE[1] + y)

    start: Point = (OFFSET / 2**0.5, -OFFSET / 2**0.5)
    path = sam_path(around_the_saddle, start, eta=eta, steps=steps, radius=rho, rule="constant", within=100 * OFFSET)
    return float(np.hypot(*path.weights[-1])) / OFFSET
