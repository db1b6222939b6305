"""VMI-FGSM: MI-FGSM with gradients corrected by their variance around the previous iterate (variance tuning).

Wang & He (2021), eqs 6-7 and algorithm 1; ma2025 table 6.7 ("VMI"):

    v_t     = 1/N sum_{i=1}^N grad_x CE(f(x_{t-1} + r_i), y) - grad_{t-1},   r_i uniform in beta times the ball, v_0 = 0
    g_{t+1} = decay * g_t + (grad_t + v_t) / mean|grad_t + v_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

Neighbours are projected neither on the ball nor on the range. v_t is computed in step t, so none is computed after the
last step. Cost: ``steps + samples * (steps - 1)`` forward and
input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks._variance import variance_tuned
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def vmi_fgsm(
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
    samples: Annotated[int, Field(ge=0)] = 5,
    beta: Annotated[float, Field(ge=0)] = 1.5,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        decay: weight of the accumulated gradient (mu).
        samples: neighbours drawn per step (N); 0 is MI-FGSM.
        beta: size of the neighbourhood as a multiple of eps; 0 is MI-FGSM.
    """
    step = step_length(x, threat, step_size, rel_step_size, steps)
    direction = variance_tuned(
        lambda point: cross_entropy_gradient(model, point, y),
        lambda point, _: point,
        lambda like: beta * threat.random_offset(like, generator),
        samples,
    )
    return momentum_ascent(direction, x, threat, steps=steps, step=step, decay=decay)
