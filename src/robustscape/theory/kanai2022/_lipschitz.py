"""Lipschitz constants of the adversarial loss: the largest ratio over random pairs of weights, near and far, and bounds.

For l = log(1 + exp(-y theta.x)), with p = sigmoid(-y theta.x): grad_theta l = -y p x, so that

    C_tt = max ||x||^2 / 4        (Hessian p (1 - p) x x^T)
    C_tx = 1 + max ||x|| ||theta|| / 4        (mixed derivative -y p I + p (1 - p) x theta^T)

where the maxima are over the inputs the attack can reach and the weights considered (assumption 1 of kanai2022).
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_weight_pairs(count: int, dimension: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return two sets of weights (count, dimension); the distance of a pair is between 1e-6 and about 1."""
    generator = torch.Generator().manual_seed(seed)
    one = 2 * torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    direction = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    length = 10 ** (-6 * torch.rand(count, 1, generator=generator, dtype=torch.float64))
    return one, one + length * direction


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
    return reach**2 / 4, 1 + reach * weight_norm / 4
