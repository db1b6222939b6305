"""The loop that MI-FGSM and its descendants share: a step along an accumulated, normalised gradient.

    g_{t+1} = decay * g_t + d_t / mean|d_t|            (mean over the coordinates of a sample)
    x_{t+1} = P( x_t + step * ascent(g_{t+1}) )

``d_t`` is the attack's own estimate of the gradient, and the only thing in which the attacks differ. With
``decay = 0`` nothing accumulates, and the loop is that of BIM.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.scaling import magnitude, per_sample
from robustscape.attacks.base.threat import ThreatModel

#: From the iterate x_t and the accumulated gradient g_t (both (B, ...)), the next estimate d_t.
Direction = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_gradient(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the cross-entropy with respect to ``x``, (B, ...). Cost: 1 forward and 1 input-backward pass."""
    return input_gradient(model, x, y, cross_entropy)[2]


def scaled_to_unit_mean(direction: Tensor) -> Tensor:
    """Return ``direction`` (B, ...) divided by the mean absolute value of each sample; a sample of zeros stays zero."""
    scaled = direction / magnitude(direction)
    mean = scaled.flatten(1).abs().mean(1).clamp_min(torch.finfo(direction.dtype).tiny)
    return scaled / per_sample(mean, direction)


def look_ahead_point(
    point: Tensor, momentum: Tensor, threat: ThreatModel, step: Tensor | float, decay: float
) -> Tensor:
    """Return x_t + step * decay * g_t, the point to which the accumulated gradient alone would lead (Lin et al. 2020, eq 6).

    For the L2 norm g_t / ||g_t||_2 replaces g_t, because ||g_t|| grows with the number of coordinates.
    """
    return point + step * decay * (momentum if threat.norm == "Linf" else threat.ascent(momentum))


def momentum_ascent(
    direction: Direction,
    x: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    step: Tensor | float,
    decay: float = 0.0,
    start: Tensor | None = None,
) -> Tensor:
    """Return the last of ``steps`` iterates of the loop above, (B, ...), in the ball and in range.

    Args:
        direction: the estimate d_t from the iterate x_t and the accumulated gradient g_t.
        x: clean inputs (B, ...), the centres of the balls.
        threat: norm, eps and range.
        steps: number of iterates. Cost: ``steps`` calls of ``direction``.
        step: length of a step in input units, broadcast against ``x``.
        decay: weight of the accumulated gradient.
        start: first point; None: ``x``.
    """
    point = x if start is None else start
    momentum = torch.zeros_like(x)
    for _ in range(steps):
        momentum = decay * momentum + scaled_to_unit_mean(direction(point, momentum))
        point = threat.project(point + step * threat.ascent(momentum), x)
    return point
