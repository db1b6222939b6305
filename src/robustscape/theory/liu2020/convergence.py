"""liu2020, section 2 (nonlinear model): SGD on the adversarial loss and large gradients, on the scalar toy."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _scalar_toy as toy
from robustscape.theory.rows import check_row


def step_size(curvature: float, steps: int) -> float:
    """Return the theorem's constant step size for T = ``steps``, 1 / (L_theta_theta sqrt(T))."""
    return 1.0 / (curvature * steps**0.5)


def probability_bound(gamma: float) -> float:
    """Return the theorem's bound, 4 / (gamma^2 - 2 gamma + 4): 1 at gamma = 2, where it says only that some step is below."""
    return 4.0 / (gamma**2 - 2.0 * gamma + 4.0)


def largest_share(gamma: float) -> float:
    """Return the largest share of gradients above gamma c, c = eps L_theta_x, that descent allows: 1 / (gamma - 1)^2.

    In the limit an update of rate alpha lowers the loss by alpha (g^2 - 2 c g) on average, as the smoothness theorem has it, and
    the loss cannot fall forever: the mean of g^2 - 2 c g is at most 0. It is -c^2 at least (g = c) and (gamma^2 - 2 gamma) c^2
    above gamma c, so that the share P of those obeys P (gamma^2 - 2 gamma) - (1 - P) <= 0. The theorem's bound is above it.
    """
    return 1.0 / (gamma - 1.0) ** 2


def convergence(
    *,
    eps_values: list[float] = [0.02, 0.05, 0.1, 0.15],  # noqa: B006  (read as a schema; never changed)
    gammas: list[float] = [2, 3, 4, 6],  # noqa: B006
    sharp_eps: Annotated[float, Field(gt=1)] = 1.2,
    steps: Annotated[int, Field(ge=100)] = 10_000,
    draws: Annotated[int, Field(ge=2)] = 64,
    noise: Annotated[float, Field(ge=0)] = 0.5,
    start: float = 3.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check P(|L_eps'(theta_t)| > gamma eps L_theta_x) < 4 / (gamma^2 - 2 gamma + 4) over trajectories of SGD and steps t.

    Every threshold lies below the gradient at the start, so that a trajectory that stays there breaks every bound; a row per
    eps says that the largest threshold is exceeded at all. The bound is strict: the share of the other steps is above its
    complement. It leaves room, so its formula has checks of its own: it is 1 at gamma = 2, where the theorem begins, below 1
    above, and never below the ``largest_share`` that descent allows. For eps > 1, where the minimum is at the kink, the
    gradient never vanishes: it is at least (eps - 1) / 2 everywhere, and SGD comes near that; without an adversary it does
    vanish.

    Args:
        eps_values: values of eps.
        gammas: values of gamma, 2 or above.
        sharp_eps: the eps, above 1, at which the gradient does not vanish.
        steps: T, number of steps.
        draws: number of independent trajectories.
        noise: standard deviation of the gradient's additive noise.
        start: theta_0.
        seed: seed of the noise.
    """
    every_eps = [*eps_values, 0.0, sharp_eps]
    found = _gradients_met(every_eps, gammas, steps=steps, draws=draws, noise=noise, start=start, seed=seed)
    rows = []
    for eps, above in zip(eps_values, found.above, strict=False):
        shared = {"eps": eps, "steps": steps, "draws": draws, "noise": noise, "seed": seed}
        for gamma, share in zip(gammas, above, strict=True):
            quantity = "share of steps without a gradient above gamma eps L"
            expected = 1.0 - probability_bound(gamma)
            rows.append(check_row("probability bound", quantity, 1.0 - share, ">", expected, gamma=gamma, **shared))
        quantity = "share of steps above the largest threshold"
        rows.append(check_row("not vacuous", quantity, above[gammas.index(max(gammas))], ">", 0.0, **shared))
    for gamma in gammas:
        bound = probability_bound(gamma)
        if gamma > 2:
            rows.append(check_row("bound from gamma 2 on", "1 - bound", 1.0 - bound, ">", 0.0, gamma=gamma))
        rows.append(check_row("bound allowed by descent", "bound", bound, ">=", largest_share(gamma), gamma=gamma))
    rows.append(
        check_row("bound from gamma 2 on", "bound", probability_bound(2.0), "==", 1.0, tolerance=1e-12, gamma=2.0)
    )
    vanilla, sharp = found.smallest[-2:]
    bound, shared = (sharp_eps - 1.0) / 2.0, {"steps": steps, "draws": draws, "noise": noise, "seed": seed}
    return [
        *rows,
        check_row("vanishing", "smallest gradient without an adversary", vanilla, "<=", 0.01, eps=0.0, **shared),
        check_row("no vanishing", "smallest gradient", sharp, ">=", bound, tolerance=1e-12, eps=sharp_eps, **shared),
        check_row("no vanishing", "smallest gradient", sharp, "<=", 1.2 * bound, eps=sharp_eps, **shared),
    ]


class _Met:
    """The gradients that SGD met: per eps, shares of steps above each threshold, and the smallest absolute value."""

    def __init__(self, above: list[list[float]], smallest: list[float]) -> None:
        self.above, self.smallest = above, smallest


def _gradients_met(
    eps_values: list[float], gammas: list[float], *, steps: int, draws: int, noise: float, start: float, seed: int
) -> _Met:
    """Run SGD from ``start`` at every eps; thresholds are gamma eps L_theta_x."""
    generator = np.random.default_rng(seed)
    eps_column = np.array(eps_values)[:, None]
    constants = [toy.lipschitz_constants(eps) for eps in eps_values]
    rate = np.array([step_size(curvature, steps) for _, curvature, _ in constants])[:, None]
    cross = np.array([[cross] for _, _, cross in constants])
    threshold = cross * eps_column * np.array(gammas)
    theta = np.full((len(eps_values), draws), start)
    above = np.zeros((len(eps_values), len(gammas)))
    smallest = np.full(len(eps_values), np.inf)
    for _ in range(steps):
        gradient = toy.adversarial_slope(theta, eps_column)
        above += (np.abs(gradient)[:, :, None] > threshold[:, None, :]).sum(1)
        smallest = np.minimum(smallest, np.abs(gradient).min(1))
        theta = theta - rate * (gradient + noise * generator.standard_normal(theta.shape))
    return _Met((above / (steps * draws)).tolist(), smallest.tolist())
