"""TIM for waveforms: BIM along gradients smoothed in time.

The translation invariance of Dong et al. (2019) along time, as kim2023 section 3.4 uses it:

    grad_t  = w * grad_x CE(f(x_t), y),    w = Gaussian kernel, sum 1, zero-padded to the same length
    x_{t+1} = P( x_t + step * sign(grad_t) ),   x_0 = x                         (L2: g / ||g||_2)

A wide kernel cancels the gradient of a waveform, whose sign changes from one time step to the next; the work found a length
of 3 best. It does not say how wide the Gaussian is. Dong et al. give a kernel of 2k + 1 pixels the standard deviation k /
sqrt(3), [0.154, 0.691, 0.154] at length 3. torchattacks, which the work used, ends every kernel at three standard deviations,
[0.011, 0.978, 0.011]: that leaves nearly all signs as they are, so TIM would be PGD, from which it differs by 20 points in table
3.2. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._resampling import gaussian_kernel, require_waveforms, smooth_signal
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def tim_1d(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] | None = None,
    kernel: Annotated[int, Field(ge=1)] = 3,
    sigma: Annotated[float, Field(gt=0)] | None = None,
) -> Tensor:
    """Return adversarial waveforms of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from waveforms.
        x: waveforms (B, T) or (B, 1, T) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: not used: nothing here is random.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps; None: 2 / steps, as in the work.
        kernel: length of the kernel in time steps; 1 is BIM.
        sigma: standard deviation of the Gaussian in time steps; None: (kernel - 1) / sqrt(12), that of Dong et al.;
            (kernel - 1) / 6 is torchattacks'.
    """
    require_waveforms(x, "tim_1d")
    step = step_length(x, threat, step_size, rel_step_size, steps)
    half = (kernel - 1) / 2
    weights = gaussian_kernel(kernel, math.sqrt(3) if sigma is None else half / sigma)
    return momentum_ascent(
        lambda point, _: smooth_signal(cross_entropy_gradient(model, point, y), weights),
        x,
        threat,
        steps=steps,
        step=step,
    )
