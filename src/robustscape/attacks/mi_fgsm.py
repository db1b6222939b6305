"""MI-FGSM: iterative FGSM along an accumulated gradient, which transfers better than a single gradient.

Dong et al. (2018), algorithm 1; ma2025 table 6.7 (and, within LinBP, table 6.8):

    g_{t+1} = decay * g_t + grad_t / mean|grad_t|,   grad_t = grad_x CE(f(x_t), y),   g_0 = 0,  x_0 = x
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2 replaces the sign)

Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def mi_fgsm(
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
    return momentum_ascent(
        lambda point, _: cross_entropy_gradient(model, point, y), x, threat, steps=steps, step=step, decay=decay
    )
