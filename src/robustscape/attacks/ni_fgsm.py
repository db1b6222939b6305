"""NI-FGSM: MI-FGSM with the gradient taken at the point to which the accumulated gradient leads (Nesterov momentum).

Lin et al. (2020), eqs 6-8; ma2025 table 6.7:

    x_nes   = x_t + step * decay * g_t                              (L2: g_t / ||g_t||_2)
    g_{t+1} = decay * g_t + grad / mean|grad|,   grad = grad_x CE(f(x_nes), y)
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

The look-ahead point is not projected. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, look_ahead_point, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def ni_fgsm(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    decay: Annotated[float, Field(ge=0)] = 1.0,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: not used: nothing here is random.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        decay: weight of the accumulated gradient (mu); 0 is BIM.
    """
    step = step_length(x, threat, step_size, rel_step_size, steps)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        return cross_entropy_gradient(model, look_ahead_point(point, momentum, threat, step, decay), y)

    return momentum_ascent(direction, x, threat, steps=steps, step=step, decay=decay)
