"""The loop that MI-FGSM and its descendants share: a step along an accumulated, normalised gradient.

    g_{t+1} = decay * g_t + d_t / mean|d_t|            (mean over the coordinates of a sample)
    x_{t+1} = P( x_t + step * ascent(g_{t+1}) )

``d_t`` is the attack's own estimate of a gradient: that is where the attacks differ. With ``decay = 0`` the
accumulation is no more than the last estimate, and the loop is that of BIM.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel, per_sample

#: From the iterate x_t and the accumulated gradient g_t (both (B, ...)), the next estimate d_t.
Direction = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_gradient(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """d cross-entropy / d x, (B, ...). 1 forward and 1 input-backward pass."""
    return input_gradient(model, x, y, cross_entropy)[2]


def scaled_to_unit_mean(direction: Tensor) -> Tensor:
    """``direction`` of mean absolute value 1 in every sample; zero stays zero."""
    mean = direction.flatten(1).abs().mean(1).clamp_min(torch.finfo(direction.dtype).tiny)
    return direction / per_sample(mean, direction)


def look_ahead_point(
    point: Tensor, momentum: Tensor, threat: ThreatModel, step: Tensor | float, decay: float
) -> Tensor:
    """Where the accumulated gradient alone would lead (Nesterov; Lin et al. 2020, eq 6): x_t + step * decay * g_t.

    In L2, where ||g_t|| grows with the number of coordinates, g_t / ||g_t||_2 takes the place of g_t.
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
    """The last of ``steps`` iterates from ``start`` (None: ``x``). Cost: ``steps`` calls of ``direction``."""
    point = x if start is None else start
    momentum = torch.zeros_like(x)
    for _ in range(steps):
        momentum = decay * momentum + scaled_to_unit_mean(direction(point, momentum))
        point = threat.project(point + step * threat.ascent(momentum), x)
    return point
