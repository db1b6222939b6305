"""Input diversity for images (Xie et al. 2019), shared by DI-FGSM and TI-FGSM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustscape.attacks._resampling import random_places, shrink_and_pad, signal_axes
from robustscape.attacks.base.generator import SampleGenerator


def random_resize_and_pad(
    x: Tensor, generator: SampleGenerator, resize_rate: float, probability: float
) -> Callable[[Tensor], Tensor]:
    """Return one draw of the transformation T, a differentiable map of images (B, C, H, W) to images of that shape.

    With ``probability`` a sample is resized to a random size in [``resize_rate`` * d, d) and padded with zeros to d at a
    random place; otherwise it stays as it is. One draw gives height and width, so a square image stays square. 4 numbers
    are drawn per sample, whether it is transformed or not.
    """
    chance = generator.uniform(()) < probability
    fraction = generator.uniform(())
    steps = []
    for axis in signal_axes(x):
        length = x.shape[axis]
        low = int(length * resize_rate)
        size = torch.where(chance, low + (fraction * (length - low)).floor(), float(length))
        steps.append((size, random_places(length, size, generator), axis))

    def transform(point: Tensor) -> Tensor:
        for size, place, axis in steps:
            point = shrink_and_pad(point, size, place, axis)
        return point

    return transform
