"""liu2020, section 2 (nonlinear model): the adversarial loss is Lipschitz, its gradient is not; exactly, on the scalar toy."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _scalar_toy as toy
from robustscape.theory.rows import check_row

#: The constants that ``lipschitz_constants`` returns, in its order.
CONSTANTS = ("L_theta", "L_theta_theta", "L_theta_x")


def smoothness(
    *,
    eps_values: list[float] = [0.0, 0.6, 1.2],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    draws: Annotated[int, Field(ge=10)] = 10_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check both bounds of the theorem on random pairs theta_1, theta_2, and the jump of the gradient at the kink.

        |g_eps(t1) - g_eps(t2)|   <= L_theta |t1 - t2|
        |g_eps'(t1) - g_eps'(t2)| <= L_theta_theta |t1 - t2| + 2 eps L_theta_x

    The constants are the smallest ones: each is the largest difference quotient of g, which is searched for on a grid.

    Args:
        eps_values: values of eps.
        draws: number of pairs: theta ~ N(0, 3^2), half of them close together on both sides of 0.
        seed: seed of the pairs.
    """
    generator = np.random.default_rng(seed)
    first = 3.0 * generator.standard_normal(draws)
    near = 1e-3 * generator.random(draws)
    second = np.where(np.arange(draws) % 2 == 0, 3.0 * generator.standard_normal(draws), -np.sign(first) * near)
    first = np.where(np.arange(draws) % 2 == 0, first, np.sign(first) * near)
    apart = np.abs(first - second)
    rows = []
    for eps in eps_values:
        lipschitz, curvature, cross = toy.lipschitz_constants(eps)
        shared = {"eps": eps, "draws": draws, "seed": seed}
        grid = np.linspace(1.0 - eps, 1.0 + eps, 201)
        searched = np.logaddexp(0.0, first[:500, None] * grid).max(1)
        off = float(np.abs(searched - toy.adversarial_loss(first[:500], eps)).max())
        rows.append(
            check_row("closed form", "largest |g_eps - grid over x'|", off, "==", 0.0, tolerance=1e-12, **shared)
        )

        for name, constant, quotient in zip(
            CONSTANTS, (lipschitz, curvature, cross), largest_quotients(eps), strict=True
        ):
            quantity = f"largest difference quotient for {name}"
            rows.append(check_row("constants", quantity, quotient, "==", constant, tolerance=1e-2 * constant, **shared))

        rise = np.abs(toy.adversarial_loss(first, eps) - toy.adversarial_loss(second, eps)) - lipschitz * apart
        rows.append(check_row("first order", "largest excess over the bound", float(rise.max()), "<=", 1e-12, **shared))
        turn = (
            np.abs(toy.adversarial_slope(first, eps) - toy.adversarial_slope(second, eps))
            - curvature * apart
            - 2 * eps * cross
        )
        rows.append(
            check_row("second order", "largest excess over the bound", float(turn.max()), "<=", 1e-12, **shared)
        )

        h = 1e-7
        right = float((toy.adversarial_loss(np.array(h), eps) - toy.adversarial_loss(np.array(0.0), eps)) / h)
        left = float((toy.adversarial_loss(np.array(0.0), eps) - toy.adversarial_loss(np.array(-h), eps)) / h)
        jump = right - left
        rows += [
            check_row("kink", "right derivative at 0", right, "==", (1 + eps) / 2, tolerance=1e-6, **shared),
            check_row("kink", "left derivative at 0", left, "==", (1 - eps) / 2, tolerance=1e-6, **shared),
            check_row("kink", "jump of the derivative", jump, "==", eps, tolerance=1e-6, **shared),
            check_row("kink", "jump of the derivative", jump, "<=", 2 * eps * cross + 1e-6, **shared),
        ]
        if eps > 0:  # the gradient alone is not Lipschitz: across 0 its difference quotient grows as 1 / h without end
            wide, narrow = (
                float((toy.adversarial_slope(np.array(d), eps) - toy.adversarial_slope(np.array(-d), eps)) / (2 * d))
                for d in (h, h / 10)
            )
            quantity = "growth of the slope's difference quotient when h is a tenth"
            rows.append(check_row("not Lipschitz", quantity, narrow / wide, "==", 10.0, tolerance=1e-3, **shared))
    return rows


def largest_quotients(eps: float) -> tuple[float, float, float]:
    """Return the largest difference quotients of g in theta, of its slope in theta and of its slope in x', on a grid.

    theta is in [-20, 20] and x' within eps of 1.
    """
    theta, d = np.linspace(-20.0, 20.0, 4001)[:, None], 1e-4
    x = np.linspace(1.0 - eps, 1.0 + eps, 41)
    rise = (toy.vanilla_loss(theta + d, x) - toy.vanilla_loss(theta - d, x)) / (2 * d)
    turn = (toy.vanilla_slope(theta + d, x) - toy.vanilla_slope(theta - d, x)) / (2 * d)
    scatter = (toy.vanilla_slope(theta, x + d) - toy.vanilla_slope(theta, x - d)) / (2 * d)
    largest_rise, largest_turn, largest_scatter = (float(np.abs(found).max()) for found in (rise, turn, scatter))
    return largest_rise, largest_turn, largest_scatter
