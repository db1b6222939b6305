"""DI-FGSM: BIM on randomly shrunk and padded copies of the image.

Xie et al. (2019), eq 5; ma2025 figure 6.1 and table 6.7 ("DI"), with torchattacks' settings:

    grad_t  = grad_x CE(f(T(x_t)), y),    T(x) = x, or with ``probability``: bilinear resize to a random size in
                                          [resize_rate * d, d), then zero-padding to d at a random place
    g_{t+1} = decay * g_t + grad_t / mean|grad_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

T is drawn anew for every sample and step; the gradient flows through it. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._diversity import random_resize_and_pad
from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._resampling import require_images
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def di_fgsm(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    decay: Annotated[float, Field(ge=0)] = 0.0,
    resize_rate: Annotated[float, Field(gt=0, le=1)] = 0.9,
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Tensor:
    """Return adversarial images of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from images.
        x: images (B, C, H, W) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        decay: weight of the accumulated gradient (mu); 1 is MI-DI-FGSM.
        resize_rate: smallest size of the resized image, as a fraction (rounded down to pixels).
        probability: probability that a sample is transformed in a step; 0 is MI-FGSM.
    """
    require_images(x, "di_fgsm")
    step = step_length(x, threat, step_size, rel_step_size, steps)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        transform = random_resize_and_pad(x, generator, resize_rate, probability)
        return cross_entropy_gradient(lambda image: model(transform(image)), point, y)

    return momentum_ascent(direction, x, threat, steps=steps, step=step, decay=decay)
