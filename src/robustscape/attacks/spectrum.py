"""Noise in a band of frequencies of the cosine transform (ma2025 section 4.4); the transform is in ``data.dct``."""

from __future__ import annotations

from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.data.dct import idct


def band_noise(shape: tuple[int, ...], mask: Tensor, generator: SampleGenerator) -> Tensor:
    """Return Gaussian noise of variance 1 per coefficient of a band and 0 elsewhere: (B, *shape), one draw per sample.

    It is computed in float64, where the batch size does not show in the products.

    Args:
        shape: shape of one sample, (C, H, W), (T,) or (1, T).
        mask: the band, bool (H, W) or (T,); the draws of the channels are independent.
        generator: random streams, one per sample.
    """
    coefficients = generator.normal(shape).double()
    return idct(coefficients * mask.to(coefficients))
