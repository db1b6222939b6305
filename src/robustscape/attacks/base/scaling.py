"""Lengths of gradients without an absolute epsilon, however small the gradients are.

The loss of a net that is sure of its answer has a gradient of e^-margin or so: 1e-15 for a margin of 35. A small constant that is
added to its norm swallows it, and below 1e-23 its squares underflow in fp32. Divided by a power of two it is of order one; that
division is exact, so the digits of a gradient that is large enough anyway stay what they are.
"""

from __future__ import annotations

import torch
from torch import Tensor


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, ..., 1) so that it broadcasts against ``like`` (B, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each sample, shape (B, 1, ..., 1); of gradients, first divide by their ``magnitude``."""
    return per_sample(torch.linalg.vector_norm(x.flatten(1), dim=1), x)


def magnitude(x: Tensor) -> Tensor:
    """Return the largest power of two at or below each sample's largest absolute value, (B, 1, ..., 1); 1 for zeros.

    ``x / magnitude(x)`` is exact and has its largest absolute value in [1, 2). Not finite where ``x`` is not. No gradient.

    >>> magnitude(torch.tensor([[0.75, -6.0], [1e-40, 0.0], [0.0, 0.0]])).flatten().log2().tolist()
    [2.0, -133.0, 0.0]
    """
    largest = x.detach().flatten(1).abs().amax(1)
    mantissa = torch.frexp(largest).mantissa  # in [1/2, 1), 0 for 0
    return per_sample(torch.where(largest == 0, 1.0, largest / (2 * mantissa)), x)


def unit_l2(x: Tensor) -> Tensor:
    """Return each sample divided by its Euclidean norm, (B, ...); a sample of zeros stays zero, every other one has norm 1.

    >>> unit_l2(torch.tensor([[3e-42, -4e-42], [0.0, 0.0]])).mul(10).round().tolist()
    [[6.0, -8.0], [0.0, 0.0]]
    """
    scaled = x / magnitude(x)
    return scaled / l2_norm(scaled).clamp_min(1.0)
