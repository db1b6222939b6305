"""liu2020, section 2.3: how often SGD on the adversarial loss meets a large gradient, simulated on the scalar toy."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _scalar_toy as toy
from robustscape.theory.rows import check_row


def convergence(
    *,
    eps_values: list[float] = [0.02, 0.05, 0.1, 0.3, 0.6, 1.2],  # noqa: B006  (read as a schema; never changed)
    gammas: list[float] = [2, 3, 4, 6],  # noqa: B006
    steps: Annotated[int, Field(ge=100)] = 10_000,
    draws: Annotated[int, Field(ge=2)] = 64,
    noise: Annotated[float, Field(ge=0)] = 0.5,
    start: float = 3.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check P(|L_eps'(theta_t)| > gamma eps L_theta_x) < 4 / (gamma^2 - 2 gamma + 4) over trajectories of SGD and steps t.

    The step size is the theorem's, 1 / (L_theta_theta sqrt(T)). For the smallest eps the threshold lies below the largest
    gradient, so that the frequency is above 0. For eps > 1, where the minimum is at the kink, the gradient never vanishes: its
    absolute value is at least (eps - 1) / 2 everywhere; the check asks for 0.4 (eps - 1) at every step.

    Args:
        eps_values: values of eps.
        gammas: values of gamma, each at least 2.
        steps: T, number of steps.
        draws: number of independent trajectories.
        noise: standard deviation of the gradient's additive noise.
        start: theta_0.
        seed: seed of the noise.
    """
    generator = np.random.default_rng(seed)
    eps_column = np.array(eps_values)[:, None]
    constants = [toy.lipschitz_constants(eps) for eps in eps_values]
    rate = np.array([1.0 / (curvature * steps**0.5) for _, curvature, _ in constants])[:, None]
    cross = constants[0][2]  # a property of the loss alone, the same at every eps
    threshold = cross * eps_column * np.array(gammas)
    theta = np.full((len(eps_values), draws), start)
    above = np.zeros((len(eps_values), len(gammas)))
    smallest = np.full(len(eps_values), np.inf)
    for _ in range(steps):
        x = np.where(theta >= 0, 1.0 + eps_column, 1.0 - eps_column)  # adversarial_slope for all eps at once
        gradient = x * toy.sigmoid(theta * x)
        above += (np.abs(gradient)[:, :, None] > threshold[:, None, :]).sum(1)
        smallest = np.minimum(smallest, np.abs(gradient).min(1))
        theta -= rate * (gradient + noise * generator.standard_normal(theta.shape))
    rows = []
    for i, eps in enumerate(eps_values):
        shared = {"eps": eps, "steps": steps, "draws": draws, "noise": noise, "seed": seed}
        for k, gamma in enumerate(gammas):
            share, bound = above[i, k] / (steps * draws), 4.0 / (gamma**2 - 2 * gamma + 4)
            quantity = "share of steps with a gradient above gamma eps L"
            rows.append(check_row("probability bound", quantity, float(share), "<=", bound, gamma=gamma, **shared))
        if eps > 1:
            rows.append(
                check_row("no vanishing", "smallest gradient", float(smallest[i]), ">=", 0.4 * (eps - 1), **shared)
            )
    seen = float((above[:, 0] > 0).sum())
    rows.append(
        check_row("not vacuous", "radii at which the largest threshold is ever exceeded", seen, ">=", 1.0, seed=seed)
    )
    return rows
