"""kim2023, corollary 5.2: losses at two radii bound the population loss; the tail lemma of its proof."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._toys import Array
from robustscape.theory.kim2023.theorem_5_1 import gaussian_kl
from robustscape.theory.rows import check_row


def corollary_5_2(
    *,
    dimensions: Annotated[tuple[int, ...], Field(min_length=1)] = (1, 10, 100),
    times: Annotated[tuple[float, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 4.0),
    sigma: Annotated[float, Field(gt=0)] = 0.3,
    radii: tuple[float, float] = (0.5, 1.0),
    points: Annotated[int, Field(ge=3)] = 21,
    draws: Annotated[int, Field(ge=100)] = 200_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check P(|e|^2 - k s^2 >= 2 s^2 sqrt(k t) + 2 t s^2) <= exp(-t) by Monte Carlo, and the right side on a quadratic toy.

    On l(w) = w.Hw / 2 with rho_1 <= rho_2, lambda max_{rho_1} + (1 - lambda) max_{rho_2} falls with lambda, lies between the two
    maxima, and is above the mean over Gaussian noise of norm up to rho_1 (eq 5.15). The probabilities of eqs 5.12 and 5.13 use an
    alpha that the work does not define, so they are not checked.

    Args:
        dimensions: values of k.
        times: values of t.
        sigma: s of the lemma.
        radii: rho_1 and rho_2 of the toy.
        points: number of values of lambda in [0, 1].
        draws: number of draws of the noise.
        seed: seed of the noise.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for k in dimensions:
        squares = sigma**2 * generator.chisquare(k, draws)
        for t in times:
            beyond = 2 * sigma**2 * (math.sqrt(k * t) + t)
            share = float((squares - k * sigma**2 >= beyond).mean())
            own = {"dimension": k, "t": t, "sigma": sigma, "draws": draws, "seed": seed}
            rows.append(check_row("tail lemma", "share of draws in the tail", share, "<=", math.exp(-t), **own))
    return rows + _quadratic_toy(radii, points, min(draws, 20_000), generator, seed)


def worst_loss_in_ball(hessian: Array, w: Array, radius: float) -> float:
    """Return the largest v.Hv / 2 over |v - w| <= radius in the plane, searched on the circle, as H is positive semidefinite."""
    angle = np.linspace(0, 2 * math.pi, 2881)
    points = w + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return float(((points @ hessian) * points).sum(1).max() / 2)


def _quadratic_toy(
    radii: tuple[float, float], points: int, draws: int, generator: np.random.Generator, seed: int
) -> list[dict[str, Any]]:
    """Check the right side of the corollary on a quadratic loss of two weights."""
    hessian, w = np.array([[2.0, 0.6], [0.6, 0.5]]), np.array([0.3, -0.2])
    near, far = (worst_loss_in_ball(hessian, w, radius) for radius in radii)
    share = np.linspace(0, 1, points)
    root = math.sqrt((gaussian_kl(w, 0.1, 1.0) + math.log(1000 / 0.05)) / (2 * 999))
    right = share * near + (1 - share) * far + root
    noise = radii[0] / 3 * generator.standard_normal((draws, 2))
    inside = noise[np.hypot(noise[:, 0], noise[:, 1]) <= radii[0]]
    noisy = float((((w + inside) @ hessian) * (w + inside)).sum(1).mean() / 2)
    reached = radii[1] * np.sqrt(generator.uniform(0, 1, draws))[:, None] * _random_directions(generator, draws)
    best = float((((w + reached) @ hessian) * (w + reached)).sum(1).max() / 2)
    own = {"rho_1": radii[0], "rho_2": radii[1], "points": points, "seed": seed}
    return [
        check_row("falls with lambda", "least fall of the right side", float(-np.diff(right).max()), ">", 0.0, **own),
        check_row("two radii", "larger radius minus smaller radius, worst loss", far - near, ">", 0.0, **own),
        check_row("two radii", "best of random points over the worst loss", best / far, "<=", 1.0, **own),
        check_row(
            "two radii", "least right side minus mean loss under noise", float(right.min()) - noisy, ">", 0.0, **own
        ),
    ]


def _random_directions(generator: np.random.Generator, count: int) -> Array:
    angle = generator.uniform(0, 2 * math.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
