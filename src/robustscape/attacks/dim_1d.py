"""DIM for waveforms: BIM on shrunk and padded copies of the waveform.

The input diversity of Xie et al. (2019) along time, as kim2023 section 3.4 uses it:

    grad_t  = grad_x CE(f(T(x_t)), y),    T: linear resize to ``resize_rate`` of the length, then zero-padding to the
                                          old length at a random place, in every step
    x_{t+1} = P( x_t + step * sign(grad_t) ),   x_0 = x                         (L2: g / ||g||_2)

Unlike in DI-FGSM, the size is fixed and every sample is transformed; only the place is drawn, for every sample and step. The size
and the probability of torchattacks, which the work used, can be had: ``random_size`` draws the size between ``resize_rate`` and
1, and ``probability`` is the share of samples that are transformed, 0.5 there. The work says "at every step" and names one rate.
The gradient flows through T. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._resampling import random_places, require_waveforms, shrink_and_pad
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def dim_1d(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] | None = None,
    resize_rate: Annotated[float, Field(gt=0, le=1)] = 0.9,
    random_size: bool = False,
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> Tensor:
    """Return adversarial waveforms of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from waveforms.
        x: waveforms (B, T) or (B, 1, T) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps; None: 2 / steps, as in the work.
        resize_rate: length of the resized waveform, as a fraction (rounded down to samples); 1 is BIM.
        random_size: draw the length in every step, uniformly from that one to the old one.
        probability: that a sample is transformed in a step.
    """
    require_waveforms(x, "dim_1d")
    step = step_length(x, threat, step_size, rel_step_size, steps)
    length, axis = x.shape[-1], x.dim() - 1
    smallest = torch.full((x.shape[0],), float(max(int(length * resize_rate), 1)), device=x.device)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        size = smallest
        if random_size:
            size = size + (generator.uniform(()) * (length + 1 - size)).floor()
        if probability < 1:
            size = torch.where(generator.uniform(()) < probability, size, float(length))
        place = random_places(length, size, generator)
        return cross_entropy_gradient(lambda wave: model(shrink_and_pad(wave, size, place, axis)), point, y)

    return momentum_ascent(direction, x, threat, steps=steps, step=step)
