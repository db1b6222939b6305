"""kim2023, theorem 4.5: momentum accelerates the escape from a saddle, a large batch slows it down."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from robustscape.theory.kim2023._saddle_diffusion import (
    displacement_constants,
    inertial_term,
    inertial_term_slope,
    mean_squared_displacement,
    simulate_momentum_displacement,
)
from robustscape.theory.rows import check_row


def theorem_4_5(
    *,
    eta: Annotated[float, Field(gt=0)] = 0.01,
    rho: Annotated[float, Field(ge=0)] = 0.5,
    t: Annotated[float, Field(gt=0)] = 0.5,
    batches: Annotated[tuple[int, ...], Field(min_length=2)] = (8, 32, 128),
    gammas: Annotated[tuple[float, ...], Field(min_length=2)] = (0.0, 0.5, 0.9),
    points: Annotated[int, Field(ge=3)] = 200,
    draws: Annotated[int, Field(ge=100)] = 20_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check Delta = C1 (1 - exp(-C2 u))^2 / (u^3 B) + C3 (1 - exp(-C4 / u)) / (u B), u = 1 - gamma, for lambda = -1 and 1.

    (a) It rises with gamma and falls with B; (b) it is proportional to 1/B; (c) the derivative of the first term; (d) Delta u B
    tends to C1 C2^2 + C3 as gamma -> 1. Errata: the statement prints C2 = eta / t, its derivation has t / eta; its constants are
    positive for lambda > 0 only, and for lambda < 0 (d) fails, since the second term grows like exp(|C4| / u). Simulated updates
    with momentum follow the trends (a); the formula itself is for small steps.

    Args:
        eta: learning rate.
        rho: radius of SAM.
        t: time; the simulation takes t / eta updates.
        batches: batch sizes B, ascending.
        gammas: momenta of the simulation, ascending.
        points: number of values of gamma in [0, 0.99].
        draws: number of simulated paths.
        seed: seed of the noise.
    """
    grid = np.linspace(0, 0.99, points)
    protocol: dict[str, Any] = {"eta": eta, "rho": rho, "t": t, "seed": seed}
    rows = []
    for eigenvalue in (-1.0, 1.0):
        own = {**protocol, "eigenvalue": eigenvalue}
        rows += _monotone(eigenvalue, grid, batches, own)
        rows += _simulated(eigenvalue, batches, gammas, draws, own)
    return rows + _derivative(grid, protocol) + _limits(protocol)


def _monotone(eigenvalue: float, grid: Any, batches: tuple[int, ...], own: dict[str, Any]) -> list[dict[str, Any]]:
    """Check (a) and (b) on the formula."""
    values = np.stack(
        [
            mean_squared_displacement(grid, eigenvalue, own["t"], rho=own["rho"], eta=own["eta"], batch=b)
            for b in batches
        ]
    )
    scaled = values * np.array(batches)[:, None]
    spread = float((np.ptp(scaled, axis=0) / scaled[0]).max())
    return [
        check_row(
            "rises with momentum", "least relative rise", (np.diff(values) / values[:, 1:]).min(), ">", 0.0, **own
        ),
        check_row(
            "falls with batch", "least relative fall", (-np.diff(values, axis=0) / values[1:]).min(), ">", 0.0, **own
        ),
        check_row(
            "proportional to 1/B", "largest relative spread of B Delta", spread, "==", 0.0, tolerance=1e-12, **own
        ),
    ]


def _simulated(
    eigenvalue: float, batches: tuple[int, ...], gammas: tuple[float, ...], draws: int, own: dict[str, Any]
) -> list[dict[str, Any]]:
    """Check (a) on simulated updates."""
    generator = np.random.default_rng(own["seed"])
    found = np.stack(
        [
            simulate_momentum_displacement(
                eigenvalue,
                np.array(gammas),
                rho=own["rho"],
                eta=own["eta"],
                batch=batch,
                steps=round(own["t"] / own["eta"]),
                paths=draws,
                generator=generator,
            )
            for batch in batches
        ]
    )
    more = {**own, "draws": draws}
    return [
        check_row(
            "simulation", "least ratio of neighbouring momenta", (found[:, 1:] / found[:, :-1]).min(), ">", 1.0, **more
        ),
        check_row(
            "simulation", "least ratio of neighbouring batches", (found[:-1] / found[1:]).min(), ">", 1.0, **more
        ),
    ]


def _derivative(grid: Any, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Check (c) against automatic differentiation."""
    _, c2, _, _ = displacement_constants(1.0, protocol["t"], rho=protocol["rho"], eta=protocol["eta"])
    gamma = torch.tensor(grid, dtype=torch.float64, requires_grad=True)
    h = torch.expm1(-c2 * (1 - gamma)) ** 2 / (1 - gamma) ** 3
    (slope,) = torch.autograd.grad(h.sum(), gamma)
    same = float(np.abs(inertial_term(1 - grid, c2) / h.detach().numpy() - 1).max())
    off = float(np.abs(inertial_term_slope(1 - grid, c2) / slope.numpy() - 1).max())
    return [
        check_row("derivative of h", "largest relative |h - h|", same, "==", 0.0, tolerance=1e-12, **protocol),
        check_row(
            "derivative of h", "largest relative |formula - autodiff|", off, "==", 0.0, tolerance=1e-9, **protocol
        ),
        check_row("derivative of h", "least derivative", inertial_term_slope(1 - grid, c2).min(), ">", 0.0, **protocol),
    ]


def _limits(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Check (d) for both signs of lambda, and the two readings of C2."""
    eta, rho, t = protocol["eta"], protocol["rho"], protocol["t"]

    def scaled(eigenvalue: float, u: float, printed: bool = False) -> float:
        return float(u * mean_squared_displacement(1 - u, eigenvalue, t, rho=rho, eta=eta, batch=1, printed=printed))

    c1, c2, c3, _ = displacement_constants(1.0, t, rho=rho, eta=eta)
    limit = c1 * c2**2 + c3
    ratio = scaled(1.0, 1e-6) / limit
    growth = float(np.log(scaled(-1.0, 0.01) / scaled(-1.0, 0.02)))
    # The first term as derived: noise D and damping 1 - gamma per step, exp(-(1 - gamma) t / eta).
    derived = eta**2 / 2 * (1 - np.exp(-t / eta)) ** 2
    _, wrong, _, _ = displacement_constants(1.0, t, rho=rho, eta=eta, printed=True)
    return [
        check_row(
            "limit", "u B Delta over C1 C2^2 + C3 at u = 1e-6, lambda = 1", ratio, "==", 1.0, tolerance=1e-3, **protocol
        ),
        check_row(
            "no limit for lambda < 0", "log growth of u B Delta from u = 0.02 to 0.01", growth, ">", 5.0, **protocol
        ),
        check_row(
            "C2 corrected",
            "first term at gamma = 0 over its derivation",
            c1 * inertial_term(1.0, c2) / derived,
            "==",
            1.0,
            tolerance=1e-12,
            **protocol,
        ),
        check_row(
            "C2 printed",
            "first term at gamma = 0 over its derivation",
            c1 * inertial_term(1.0, wrong) / derived,
            "!=",
            1.0,
            tolerance=0.1,
            **protocol,
        ),
    ]
