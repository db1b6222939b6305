"""LinBP: MI-FGSM with gradients that pass backward through ReLUs as if they were the identity.

Guo et al. (2020), section 4; ma2025 table 6.8 ("MI-FGSM-LinBP"). From ``start`` on the derivative 1[z > 0] of a ReLU is
replaced by 1. In residual units the gradient of the branch would then outgrow that of the shortcut, so it is rescaled to
the length of the exact one. The forward pass is the model's own. The steps are those of MI-FGSM,

    g_{t+1} = decay * g_t + grad_t / mean|grad_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

Cost: ``steps`` forward and input-backward passes; the backward pass of residual units from ``start`` on is done three times.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._backward import with_backward_rule
from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def linbp(
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
    start: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...); it must use ReLUs.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: not used: nothing here is random.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        decay: weight of the accumulated gradient (mu).
        start: fraction of the residual units (or, in nets without units, of the ReLUs) that stay exact; 1 is MI-FGSM.
    """
    linear = with_backward_rule(model, "linear", start=start, rescale=True)
    step = step_length(x, threat, step_size, rel_step_size, steps)
    return momentum_ascent(
        lambda point, _: cross_entropy_gradient(linear, point, y), x, threat, steps=steps, step=step, decay=decay
    )
