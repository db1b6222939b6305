"""Variance tuning (Wang & He 2021, algorithm 1), shared by VMI-FGSM and VNI-FGSM.

Their estimate of the gradient is

    d_t = grad(probe_t) + v_t,    v_t = 1/N sum_i grad(x_{t-1} + r_i) - grad(probe_{t-1}),   v_0 = 0

with r_i uniform in a multiple of the ball. Cost of a step: 1 + N gradients, and 1 in the first step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustscape.attacks._momentum import Direction


def variance_tuned(
    gradient: Callable[[Tensor], Tensor],
    probe: Callable[[Tensor, Tensor], Tensor],
    offset: Callable[[Tensor], Tensor],
    samples: int,
) -> Direction:
    """Return the estimate d_t for one call of an attack; it keeps the point and the gradient of the previous step.

    Args:
        gradient: d loss / d x at a point, (B, ...) -> (B, ...).
        probe: the point where the gradient is taken, from the iterate and the accumulated gradient.
        offset: a new draw of r, of the shape of its argument.
        samples: N; 0: no tuning.
    """
    before: tuple[Tensor, Tensor] | None = None

    def variance() -> Tensor | float:
        if before is None or samples == 0:
            return 0.0
        point, there = before
        around = torch.zeros_like(point)
        for _ in range(samples):
            around += gradient(point + offset(point))
        return around / samples - there

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        nonlocal before
        spread = variance()
        here = gradient(probe(point, momentum))
        before = (point, here)
        return here + spread

    return direction
