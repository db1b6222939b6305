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
    """One draw of the transformation T, with ``probability`` a random resize to [rate * d, d) and zero-padding to d.

    Height and width shrink by the same draw (for square images to the same size). 4 draws a sample, whatever comes out.
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
