"""LinBP: MI-FGSM with gradients that go backward through ReLUs as if these were the identity.

Guo et al. (2020), section 4; ma2025 table 6.8 ("MI-FGSM-LinBP"). From ``start`` on the derivative 1[z > 0] of a ReLU is
replaced by 1; in residual units, where the branch would then outgrow the shortcut, the branch's gradient is rescaled to
the length it would have had. The forward pass is the model's own. Then, as MI-FGSM,

    g_{t+1} = decay * g_t + grad_t / mean|grad_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

Cost: ``steps`` forward and input-backward passes; residual units from ``start`` on are passed backward three times.
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
    """Adversarial inputs, shape and range of ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...); it must use ReLUs.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: unused, nothing here is random.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        decay: weight of the accumulated gradient (mu).
        start: share of the residual units, or of the ReLUs where there are none, that stay exact; 1 is MI-FGSM.
    """
    linear = with_backward_rule(model, "linear", start=start, rescale=True)
    step = step_length(x, threat, step_size, rel_step_size, steps)
    return momentum_ascent(
        lambda point, _: cross_entropy_gradient(linear, point, y), x, threat, steps=steps, step=step, decay=decay
    )
