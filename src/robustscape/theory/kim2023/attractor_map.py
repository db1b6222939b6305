"""kim2023, figure 4.6: the regions of Beale's function where lambda + rho lambda^2 is positive, for both eigenvalues."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import drawn_rows, number_points, outcome_row
from robustscape.theory.kim2023._toys import BEALE_SADDLE, beale_hessian

WINDOW = ((-3.4, 3.8), (-1.2, 2.0))


def attractor_map(
    *,
    radii: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.5),
    at_saddle: Annotated[tuple[float, ...], Field(min_length=1)] = (0.01, 0.03, 0.036, 0.0361, 0.04, 0.05, 0.1, 0.5),
    points: Annotated[int, Field(ge=3)] = 61,
) -> list[dict[str, Any]]:
    """Return maps of lambda_i + rho lambda_i^2, i = 1, 2 (lambda_1 <= lambda_2), and their values at the saddle (0, 1).

    Args:
        radii: values of rho of the maps: the constant and the normalised radius of figure 4.1.
        at_saddle: values of rho at the saddle; by theorem 4.2 the threshold is 1/27.75 = 0.03604.
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
    rows += drawn_rows(view, "point", *BEALE_SADDLE, text="saddle", metric=metric)
    for number, value in enumerate(there, 1):
        rows += outcome_row(view, "hessian_eigenvalue_at_the_saddle", value, number=number)
        for rho in at_saddle:
            rows += outcome_row(view, "at_the_saddle", value + rho * value**2, number=number, rho=rho)
    return number_points(rows)
