"""SI-NI-FGSM: NI-FGSM with the gradient averaged over darkened copies of the input.

Lin et al. (2020), section 3.3 and algorithm 1; ma2025 table 6.7 ("SINI"). With x_nes as in NI-FGSM,

    grad    = 1/m sum_{i=0}^{m-1} grad_x CE(f(x_nes / 2^i), y)
    g_{t+1} = decay * g_t + grad / mean|grad|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

The derivative is with respect to x, so copy i contributes a factor 2^-i. Inputs are scaled towards 0, which is black for
images in [0, 1] and silence for waveforms. Cost: ``copies * steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, look_ahead_point, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def si_ni_fgsm(
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
    copies: Annotated[int, Field(ge=1)] = 5,
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
        decay: weight of the accumulated gradient (mu).
        copies: number of copies (m); 1 is NI-FGSM.
    """
    step = step_length(x, threat, step_size, rel_step_size, steps)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        ahead = look_ahead_point(point, momentum, threat, step, decay)
        total = torch.zeros_like(point)
        for i in range(copies):
            scale = 2.0**-i
            total += scale * cross_entropy_gradient(model, scale * ahead, y)
        return total / copies

    return momentum_ascent(direction, x, threat, steps=steps, step=step, decay=decay)
