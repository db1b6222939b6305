"""kim2023, corollary 4.4: SAM spreads from a saddle more slowly than SGD, by eta t^2 |lambda|^3 rho / B to first order."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._saddle_diffusion import diffusion_variance
from robustscape.theory.rows import check_row


def corollary_4_4(
    *,
    eta: Annotated[float, Field(gt=0)] = 0.01,
    batch: Annotated[int, Field(ge=1)] = 10,
    eigenvalues: Annotated[tuple[float, ...], Field(min_length=1)] = (-2.0, -1.0, -0.1, 0.1, 1.0, 2.0),
    small: Annotated[tuple[float, ...], Field(min_length=1)] = (0.001, 0.01),
) -> list[dict[str, Any]]:
    """Compare the exact difference of the closed forms with its approximation, for both powers of theorem 4.3.

    The approximation is 2 eta t^2 |lambda|^3 rho / B with power 2 and half of it with power 1, for |lambda| t and rho |lambda|
    far below 1. Erratum: the corollary exchanges Delta_SGD and Delta_SAM in its sentence; checked is that SAM's displacement is
    the smaller one. For negative lambda and power 2 this holds only while rho |lambda| < 2.

    Args:
        eta: learning rate.
        batch: batch size B.
        eigenvalues: values of lambda.
        small: values of |lambda| t and of rho |lambda|.
    """
    protocol = {"eta": eta, "batch": batch}
    rows = []
    for power, factor in ((1, 1.0), (2, 2.0)):
        for eigenvalue, time, radius in product(eigenvalues, small, small):
            t, rho = time / abs(eigenvalue), radius / abs(eigenvalue)
            exact = variance_difference(eigenvalue, t, rho, power, eta, batch)
            approximate = factor * eta * t**2 * abs(eigenvalue) ** 3 * rho / batch
            own = {"power": power, "eigenvalue": eigenvalue, "t": t, "rho": rho, **protocol}
            rows += [
                check_row(
                    "approximation",
                    "exact over approximate difference",
                    exact / approximate,
                    "==",
                    1.0,
                    tolerance=0.05,
                    **own,
                ),
                check_row("SAM is slower", "SGD's variance minus SAM's", exact, ">", 0.0, **own),
            ]
    for scaled in (0.5, 1.5, 1.99):
        gap = float(variance_difference(-1.0, 0.5, scaled, 2, eta, batch))
        rows.append(
            check_row(
                "limit of power 2", "SGD's variance minus SAM's, lambda = -1", gap, ">", 0.0, rho=scaled, **protocol
            )
        )
    beyond = float(variance_difference(-1.0, 0.5, 2.5, 2, eta, batch))
    rows.append(
        check_row("limit of power 2", "SAM's variance minus SGD's, lambda = -1", -beyond, ">", 0.0, rho=2.5, **protocol)
    )
    rising = [
        float(variance_difference(-1.0, 0.5, rho, power, eta, batch))
        for power in (1, 2)
        for rho in np.linspace(0, 0.9, 10)
    ]
    least = min(np.diff(rising[:10]).min(), np.diff(rising[10:]).min())
    return [
        *rows,
        check_row("grows with rho", "least rise of the difference over rho in [0, 0.9]", least, ">", 0.0, **protocol),
    ]


def variance_difference(eigenvalue: float, t: float, rho: float, power: int, eta: float, batch: int) -> float:
    """Return Delta_SGD - Delta_SAM after time t."""
    sgd = diffusion_variance(eigenvalue, t, eta=eta, batch=batch)
    return float(sgd - diffusion_variance(eigenvalue, t, rho=rho, power=power, eta=eta, batch=batch))
