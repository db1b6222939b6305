"""Logistic regression in the notation of yamada2021, and random problems on which theorems are checked.

Shapes: inputs x (N, d), labels y in {-1, +1} (N,), weights w (d,), no bias. Everything is in float64 and differentiable in w
through the attack. The closed forms that experiments use are in ``landscape.logistic`` and are checked against these.
Equation numbers are those of yamada2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.attacks.base.threat import Norm
from robustscape.theory.rows import check_row


class Problem(NamedTuple):
    """Inputs x (N, d), labels y (N,) in {-1, +1} and weights w (d,)."""

    x: Tensor
    y: Tensor
    w: Tensor


def random_problem(dimension: int, samples: int, seed: int) -> Problem:
    """Return Gaussian inputs of norm about 1, random labels and Gaussian weights of norm about 1; margins have both signs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, dimension, generator=generator, dtype=torch.float64) / dimension**0.5
    y = random_labels(samples, generator)
    w = torch.randn(dimension, generator=generator, dtype=torch.float64) / dimension**0.5
    return Problem(x, y, w)


def optimal_problem(dimension: int, samples: int, eps: float, weight_norm: float, seed: int) -> Problem:
    """Return a problem whose weights are optimal for every sample, as eqs 9 to 12 assume: w / ||w|| = y x / eps.

    So y x = eps u with one random unit vector u, and w = weight_norm u; no other data satisfy the condition.
    """
    generator = torch.Generator().manual_seed(seed)
    u = unit_vector(torch.randn(dimension, generator=generator, dtype=torch.float64))
    y = random_labels(samples, generator)
    return Problem(eps * y[:, None] * u, y, weight_norm * u)


def random_labels(samples: int, generator: torch.Generator) -> Tensor:
    """Return labels -1 or +1 with equal probability, (N,), float64."""
    return torch.randint(0, 2, (samples,), generator=generator).double() * 2 - 1


def class_labels(y: Tensor) -> Tensor:
    """Return labels -1 and +1 as the classes 0 and 1 that the rest of the package uses, int64 (N,)."""
    return (y > 0).long()


def binary_logits(scores: Tensor) -> Tensor:
    """Return the logits (0, score), (N, 2), of a binary classifier with scores (N,); their cross-entropy is the loss of eq 1."""
    return torch.stack([torch.zeros_like(scores), scores], dim=1)


def unit_vector(vector: Tensor) -> Tensor:
    """Return ``vector`` scaled to Euclidean norm 1."""
    return vector / vector.norm()


def logistic_losses(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of each sample, eq 1: log(1 + exp(-y w.x)), in nats, (N,)."""
    return F.softplus(-y * (x @ w))


def worst_input(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: Norm) -> Tensor:
    """Return the inputs of highest loss, without clipping, (N, d): x - y eps w/||w|| (L2) or x - y eps sign(w) (Linf)."""
    direction = unit_vector(w) if norm == "L2" else w.sign()
    return x - eps * y[:, None] * direction


def worst_losses(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: Norm) -> Tensor:
    """Return the loss of each sample at its worst input, (N,): log(1 + exp(-y w.x + eps ||w||_2)), with ||w||_1 for Linf."""
    return F.softplus(-y * (x @ w) + eps * w.norm(p=2 if norm == "L2" else 1))


def weight_hessian(function: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Return the Hessian (d, d) of a scalar function of the weights, by reverse-over-reverse automatic differentiation."""
    return torch.func.jacrev(torch.func.grad(function))(w)


def largest_difference(a: Tensor, b: Tensor | float = 0.0) -> float:
    """Return the largest absolute difference of two tensors of one shape."""
    return (a - b).abs().max().item()


def agreement_row(
    check: str, quantity: str, a: Tensor, b: Tensor | float, *, tolerance: float, **parameters: Any
) -> dict[str, Any]:
    """Return the row that states that two tensors differ by at most ``tolerance`` in every entry."""
    return check_row(check, quantity, largest_difference(a, b), "==", 0.0, tolerance=tolerance, **parameters)
