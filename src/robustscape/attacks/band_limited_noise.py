"""Noise in one band of frequencies, to measure how sensitive a model is there; the model is not used.

ma2025 section 4.4 and figures 4.5, 4.6. With M the mask of band i of ``bands`` (equal numbers of cosine frequencies,
lowest first) and C the orthonormal cosine transform,

    x' = P( x + C^T (M * delta) C ),    delta ~ N(0, variance), independent in every coefficient and channel

With ``variance: null`` the noise is scaled to the norm eps instead (L2 or Linf). The work adds the noise without
clamping, because a clamp would spread it over the other bands: set ``bounds: null`` and, with ``variance``, ``eps: .inf``.
Cost: no pass of the model.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.spectrum import band_noise
from robustscape.data.dct import band_masks
from robustscape.errors import AttackError


def band_limited_noise(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    band: Annotated[int, Field(ge=0)],
    bands: Annotated[int, Field(ge=1)] = 10,
    variance: Annotated[float, Field(gt=0)] | None = None,
) -> Tensor:
    """Return noisy inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: not used.
        x: images (B, C, H, W), or waveforms or vectors with the signal along the last axis.
        y: not used.
        threat: norm, eps (a number, or one per sample) and range; the noise is projected on both.
        generator: random streams, one per sample.
        band: index of the band, from 0 (lowest frequencies) to ``bands - 1``.
        bands: number of bands.
        variance: variance of each coefficient in the band; None: noise of norm eps.

    Raises:
        AttackError: ``band`` is not below ``bands``, or there are more bands than frequencies.
    """
    if band >= bands:
        raise AttackError(f"band_limited_noise: 'band' got {band}; allowed is 0 to {bands - 1} ('bands' is {bands}).")
    mask = band_masks(tuple(x.shape[-2:] if x.dim() == 4 else x.shape[-1:]), bands)[band].to(x.device)
    noise = band_noise(tuple(x.shape[1:]), mask, generator)
    if variance is None:
        length = per_sample(threat.distance(noise, torch.zeros_like(noise)), x)
        noise = noise / length * threat.eps_like(noise)
    else:
        noise = noise * variance**0.5
    return threat.project(x + noise.to(x), x)
