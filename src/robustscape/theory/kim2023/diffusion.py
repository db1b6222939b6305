"""kim2023, theorem 4.3 as a figure: the spread of SGD and SAM from a saddle, in closed form and by Monte Carlo."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import Protocol, Rows, drawn_rows, number_points, outcome_row
from robustscape.theory.kim2023._saddle_diffusion import (
    diffusion_variance,
    drift_coefficient,
    mean_squared_displacement,
    simulate_momentum_displacement,
    simulate_variances,
    variance_sampling_error,
)

#: Panel -> eigenvalue, rho and the last time drawn. SAM escapes from the first saddle; the second, with rho > 1 / |lambda|,
#: traps it.
PANELS: dict[str, tuple[float, float, float]] = {
    "(a) escape, λ = −1, ρ = 0.5": (-1.0, 0.5, 1.5),
    "(b) capture, λ = −1, ρ = 1.5": (-1.0, 1.5, 1.5),
    "(c) valley, λ = 1, ρ = 0.5": (1.0, 0.5, 1.5),
}
#: Panel -> eigenvalue of the direction in which displacement is drawn over momentum.
MOMENTUM_PANELS: dict[str, float] = {
    "(d) momentum, λ = −1, ρ = 0.5, t = 1": -1.0,
    "(e) momentum, λ = 1, ρ = 0.5, t = 1": 1.0,
}
#: Reading of theorem 4.5, power of 1 + rho lambda, and whether C2 is the printed one. Both are as printed in the last.
READINGS: tuple[tuple[str, int, bool], ...] = (
    ("C₂ = t/η", 1, False),
    ("C₂ = η/t", 1, True),
    ("as printed (C₂ = η/t, power 2)", 2, True),
)
#: Method -> power of 1 + rho lambda in the drift, and True if rho is 0.
METHODS = {"SGD": (1, True), "SAM, as it steps (power 1)": (1, False), "SAM, theorem 4.3 (power 2)": (2, False)}


def diffusion(
    *,
    eta: Annotated[float, Field(gt=0)] = 0.01,
    batch: Annotated[int, Field(ge=1)] = 10,
    draws: Annotated[int, Field(ge=10)] = 200_000,
    momentum_draws: Annotated[int, Field(ge=10)] = 10_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the variance over time in three eigendirections, for SGD and SAM with both powers, and displacement over momentum.

    Dots are simulated, with one update per time step eta. "SAM, as it steps" takes the gradient at w^p = w + rho lambda w; the
    other SAM has the drift of the theorem's proof.

    Args:
        eta: learning rate, which is also the time of a step.
        batch: batch size B; the noise of a gradient has variance |lambda| / B.
        draws: number of simulated paths in the panels of variances.
        momentum_draws: number of simulated paths in the panel of momentum.
        seed: seed of the noise.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for panel, (eigenvalue, rho, last) in PANELS.items():
        rows += _spread(panel, eigenvalue, rho, last, eta, batch, draws, generator)
    return number_points(rows + _momentum(eta, batch, momentum_draws, generator))


def _spread(
    panel: str,
    eigenvalue: float,
    rho: float,
    last: float,
    eta: float,
    batch: int,
    draws: int,
    generator: np.random.Generator,
) -> Rows:
    """Return the rows of one panel of variances: closed form, simulation and their largest relative difference."""
    view, metric = "diffusion", "variance"
    radii = {method: 0.0 if plain else rho for method, (_, plain) in METHODS.items()}
    a = np.array([_simulated_drift(eigenvalue, radii[method], power) for method, (power, _) in METHODS.items()])
    steps = np.unique(np.linspace(0, last / eta, 9).round().astype(int))[1:].tolist()
    simulated = simulate_variances(
        np.full(len(a), eigenvalue), a, eta=eta, batch=batch, steps=steps, paths=draws, generator=generator
    )
    times, dots = np.linspace(0, last, 61), eta * np.array(steps)
    rows = []
    for number, (method, (power, _)) in enumerate(METHODS.items()):
        own: Protocol = {"rho": radii[method], "eigenvalue": eigenvalue, "power": power, "eta": eta, "batch": batch}
        line = diffusion_variance(eigenvalue, times, rho=radii[method], power=power, eta=eta, batch=batch)
        rows += drawn_rows(view, "curve", times, 0.0, line, panel=panel, method=method, metric=metric, **own)
        found = simulated[:, number]
        rows += drawn_rows(
            view, "dots", dots, 0.0, found, panel=panel, method=method, metric=f"simulated_{metric}", **own, draws=draws
        )
        expected = diffusion_variance(eigenvalue, dots, rho=radii[method], power=power, eta=eta, batch=batch)
        off = float(np.abs(found / expected - 1).max())
        rows += outcome_row(view, "largest_relative_error", off, panel=panel, method=method, **own)
        rows += outcome_row(
            view, "tolerance", max(0.05, variance_sampling_error(draws)), panel=panel, method=method, **own
        )
        rows += outcome_row(view, "last_variance", float(found[-1]), panel=panel, method=method, **own)
    return rows


def _simulated_drift(eigenvalue: float, rho: float, power: int) -> float:
    """Return the drift coefficient simulated: for power 1 SAM's gradient at w^p of w = 1, for power 2 that of the proof."""
    if power == 1:
        above = 1 + rho * (eigenvalue * 1)
        return eigenvalue * above
    return float(drift_coefficient(eigenvalue, rho, power))


def _momentum(eta: float, batch: int, draws: int, generator: np.random.Generator) -> Rows:
    """Return the rows of theorem 4.5: simulation of SAM, and the closed form in three readings, the printed one for one B.

    Beside them, not drawn, simulated_over_formula for each momentum.
    """
    view, metric, rho, time = "diffusion", "displacement", 0.5, 1.0
    gammas, grid = np.array([0.0, 0.3, 0.5, 0.7, 0.8, 0.9]), np.linspace(0, 0.9, 46)
    rows = []
    for (panel, eigenvalue), size in itertools.product(MOMENTUM_PANELS.items(), (batch, 4 * batch)):
        own: Protocol = {"rho": rho, "eigenvalue": eigenvalue, "power": 1, "eta": eta, "batch": size}
        found = simulate_momentum_displacement(
            eigenvalue, gammas, rho=rho, eta=eta, batch=size, steps=round(time / eta), paths=draws, generator=generator
        )
        for reading, power, printed in READINGS[: None if size == batch else 2]:
            common: Protocol = {"rho": rho, "eta": eta, "batch": size, "power": power, "printed": printed}
            method = f"SAM with momentum, B = {size}, {reading}"
            line = mean_squared_displacement(grid, eigenvalue, time, **common)
            drawn = {**own, "power": power}
            rows += drawn_rows(view, "curve", grid, 0.0, line, panel=panel, method=method, metric=metric, **drawn)
            ratios = found / mean_squared_displacement(gammas, eigenvalue, time, **common)
            for gamma, ratio in zip(gammas.tolist(), ratios.tolist(), strict=True):
                rows += outcome_row(
                    view, "simulated_over_formula", ratio, panel=panel, method=method, gamma=gamma, **drawn, draws=draws
                )
        method = f"SAM with momentum, B = {size}"
        simulated = f"simulated_{metric}"
        rows += drawn_rows(
            view, "dots", gammas, 0.0, found, panel=panel, method=method, metric=simulated, **own, draws=draws
        )
        for gamma, value in zip(gammas.tolist(), found.tolist(), strict=True):
            rows += outcome_row(view, "simulated", value, panel=panel, method=method, gamma=gamma, **own)
    return rows
