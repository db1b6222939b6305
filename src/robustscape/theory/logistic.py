"""Logistic regression as yamada2021 writes it, and problems to check its theorems on; equation numbers are the paper's.

Shapes: inputs x (N, d), labels y in {-1, +1} (N,), weights w (d,), no bias. Everything in float64, and differentiable
in w through the attack; the closed forms that experiments use are in ``landscape.logistic``, and are checked against
these.
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
    """Inputs, labels and weights."""

    x: Tensor
    y: Tensor
    w: Tensor


def random_problem(dimension: int, samples: int, seed: int) -> Problem:
    """Gaussian inputs of norm about 1, random labels, Gaussian weights of norm about 1: margins of both signs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, dimension, generator=generator, dtype=torch.float64) / dimension**0.5
    y = random_labels(samples, generator)
    w = torch.randn(dimension, generator=generator, dtype=torch.float64) / dimension**0.5
    return Problem(x, y, w)


def optimal_problem(dimension: int, samples: int, eps: float, weight_norm: float, seed: int) -> Problem:
    """The data for which w is optimal at every point, as eqs 9 to 12 assume: w / ||w|| = y x / eps for all samples.

    So y x = eps u with one unit vector u, and w = weight_norm u; no other data satisfies the condition.
    """
    generator = torch.Generator().manual_seed(seed)
    u = unit_vector(torch.randn(dimension, generator=generator, dtype=torch.float64))
    y = random_labels(samples, generator)
    return Problem(eps * y[:, None] * u, y, weight_norm * u)


def random_labels(samples: int, generator: torch.Generator) -> Tensor:
    """-1 or +1, (N,)."""
    return torch.randint(0, 2, (samples,), generator=generator).double() * 2 - 1


def class_labels(y: Tensor) -> Tensor:
    """Labels as the rest of the package counts them, 0 and 1."""
    return (y > 0).long()


def unit_vector(vector: Tensor) -> Tensor:
    """``vector`` at length 1."""
    return vector / vector.norm()


def logistic_losses(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Eq 1: log(1 + exp(-y w.x)) of each sample, (N,)."""
    return F.softplus(-y * (x @ w))


def worst_input(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: Norm) -> Tensor:
    """The input of highest loss, without clipping, (N, d): x - y eps w/||w|| (L2), x - y eps sign(w) (Linf)."""
    direction = unit_vector(w) if norm == "L2" else w.sign()
    return x - eps * y[:, None] * direction


def worst_losses(w: Tensor, x: Tensor, y: Tensor, eps: float, norm: Norm) -> Tensor:
    """Loss of each sample under that attack, (N,): log(1 + exp(-y w.x + eps ||w||_2)), or ||w||_1 for Linf."""
    return F.softplus(-y * (x @ w) + eps * w.norm(p=2 if norm == "L2" else 1))


def weight_hessian(function: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Hessian of a scalar function of the weights by automatic differentiation, reverse over reverse, (d, d)."""
    return torch.func.jacrev(torch.func.grad(function))(w)


def largest_difference(a: Tensor, b: Tensor | float = 0.0) -> float:
    """Largest absolute difference of two tensors."""
    return (a - b).abs().max().item()


def agreement_row(
    check: str, quantity: str, a: Tensor, b: Tensor | float, *, tolerance: float, **parameters: Any
) -> dict[str, Any]:
    """The row that says that two tensors are nowhere further apart than ``tolerance``."""
    return check_row(check, quantity, largest_difference(a, b), "==", 0.0, tolerance=tolerance, **parameters)
