"""TI-FGSM: BIM along gradients smoothed in space, which approximates an average over shifted images.

Dong et al. (2019), eqs 6-7; ma2025 figure 6.1 and table 6.7 ("TI"), with torchattacks' settings, where TI includes
the input diversity T of DI-FGSM:

    grad_t  = W * grad_x CE(f(T(x_t)), y),    W = Gaussian kernel on [-3, 3]^2, sum 1, zero-padded to the same size
    g_{t+1} = decay * g_t + grad_t / mean|grad_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

Small images need a small kernel: 7 for 28 pixels, 3 for 8. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._diversity import random_resize_and_pad
from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._resampling import gaussian_kernel, require_images, smooth_signal
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def ti_fgsm(
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
    kernel: Annotated[int, Field(ge=1)] = 15,
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
        decay: weight of the accumulated gradient (mu).
        kernel: side of the kernel in pixels; 1 is DI-FGSM.
        resize_rate: smallest size of the resized image, as a fraction (rounded down to pixels).
        probability: probability that a sample is resized in a step; 0 is TI alone.
    """
    require_images(x, "ti_fgsm")
    step = step_length(x, threat, step_size, rel_step_size, steps)
    weights = gaussian_kernel(kernel)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        transform = random_resize_and_pad(x, generator, resize_rate, probability)
        return smooth_signal(cross_entropy_gradient(lambda image: model(transform(image)), point, y), weights)

    return momentum_ascent(direction, x, threat, steps=steps, step=step, decay=decay)
