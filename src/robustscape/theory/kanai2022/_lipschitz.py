"""Lipschitz constants of the adversarial loss: ratios over pairs of weights, near and far, and what bounds them.

For l = log(1 + exp(-y theta.x)), with p = sigmoid(-y theta.x): grad_theta l = -y p x, so that

    C_tt = max ||x||^2 / 4                    (Hessian p (1 - p) x x^T)
    C_tx = max p + max ||x|| ||theta|| / 4    (mixed derivative -y p I + p (1 - p) x theta^T)

where the maxima are over the inputs the attack can reach and the weights considered (assumption 1 of kanai2022). A check of a
bound says little where it has room: the problem of ``small_margins`` has none, since p is about 1/2 everywhere.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustscape.theory.logistic import unit_vector
from robustscape.theory.rows import check_row


class SmallMargins(NamedTuple):
    """An input x (d,) with label y, and the least norm of the weights that are considered."""

    x: Tensor
    y: float
    least_norm: float


def small_margins(dimension: int, eps: float, seed: int) -> SmallMargins:
    """Return a problem on which the bounds of the work are nearly attained.

    ||x|| = 20 eps and theta_min = 1/(400 eps), so that |theta.x'| stays below 0.11 for norms up to twice theta_min, p is close to
    1/2, and C_tt and eps C_tx/theta_min are of one size.
    """
    generator = torch.Generator().manual_seed(seed)
    x = 20 * eps * unit_vector(torch.randn(dimension, generator=generator, dtype=torch.float64))
    y = float(torch.randint(0, 2, (), generator=generator)) * 2 - 1
    return SmallMargins(x, y, 1 / (400 * eps))


def weight_pairs_above(count: int, problem: SmallMargins, seed: int) -> tuple[Tensor, Tensor]:
    """Return two sets of weights (count + 1, d) of norms from ``least_norm`` to about twice that.

    Distances of pairs are random, from 1e-6 to 1 times ``least_norm``, but for the last pair: a step of 1e-4 times that along x,
    from weights of the least norm at a right angle to x. There worst input and gradient change most.
    """
    generator = torch.Generator().manual_seed(seed)
    x, _, least = problem
    one, direction = (torch.randn(count, len(x), generator=generator, dtype=torch.float64) for _ in range(2))
    shares = torch.rand(2, count, 1, generator=generator, dtype=torch.float64)
    one = one / one.norm(dim=1, keepdim=True) * least * (1 + shares[0])
    two = one + least * 10 ** (-6 * shares[1]) * direction / direction.norm(dim=1, keepdim=True)
    along = unit_vector(x)
    across = torch.randn(len(x), generator=generator, dtype=torch.float64)
    across = least * unit_vector(across - (across @ along) * along)
    one = torch.cat([one, across[None]])
    two = torch.cat([two, (across + 1e-4 * least * along)[None]])
    return scaled_to_least_norm(one, least), scaled_to_least_norm(two, least)


def scaled_to_least_norm(weights: Tensor, least: float) -> Tensor:
    """Return weights (K, d) with those of norm below ``least`` scaled up to that norm."""
    norms = weights.norm(dim=1, keepdim=True)
    return weights * (least / norms).clamp_min(1.0)


def worst_inputs(weights: Tensor, x: Tensor, y: float, eps: float, norm: str) -> Tensor:
    """Return the worst inputs x' (K, d) of one datum x (d,) with label y, for weights (K, d)."""
    direction = weights.sign() if norm == "Linf" else weights / weights.norm(dim=1, keepdim=True)
    return x - eps * y * direction


def adversarial_gradients(weights: Tensor, x: Tensor, y: float, eps: float, norm: str) -> Tensor:
    """Return the gradient of the adversarial loss at weights (K, d), with x' held fixed (Danskin's theorem), (K, d)."""
    attacked = worst_inputs(weights, x, y, eps, norm)
    margin = y * (weights * attacked).sum(1, keepdim=True)
    return -y * torch.sigmoid(-margin) * attacked


def largest_ratio(values: tuple[Tensor, Tensor], points: tuple[Tensor, Tensor]) -> float:
    """Return max ||v1 - v2|| / ||p1 - p2|| over pairs of rows."""
    return ((values[0] - values[1]).norm(dim=1) / (points[0] - points[1]).norm(dim=1)).max().item()


def lipschitz_bounds(x: Tensor, eps: float, norm: str, weight_norm: float) -> tuple[float, float]:
    """Return upper bounds (C_tt, C_tx) for inputs in the ball of size eps around x and weights of norm up to ``weight_norm``."""
    reach = x.norm().item() + eps * (len(x) ** 0.5 if norm == "Linf" else 1.0)
    return reach**2 / 4, 1 / (1 + math.exp(-reach * weight_norm)) + reach * weight_norm / 4


def bound_rows(check: str, quantity: str, share: float, least: float, **protocol: Any) -> list[dict[str, Any]]:
    """Return two rows on the largest share of a bound that is attained: at most 1, and at least ``least``.

    The second makes the first mean something: a bound with room holds for a wrong constant, too.
    """
    return [
        check_row(check, f"largest {quantity}", share, "<=", 1.0, tolerance=1e-6, **protocol),
        check_row(check, f"largest {quantity}, nearly attained", share, ">=", least, **protocol),
    ]
