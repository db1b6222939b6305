"""ma2025, figure 4.5: the ten bands of the cosine spectrum and a noise in each.

The work says that equally many coefficients in each band make the L2 norms of all noises identical: the expected square of the
norm is variance x coefficients, so means over many draws agree, single draws do not.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.data.dct import band_masks
from robustscape.evaluation.band_sensitivity import band_noises
from robustscape.evaluation.pictures import picture_columns


def frequency_bands(
    *,
    size: Annotated[int, Field(ge=2)] = 32,
    bands: Annotated[int, Field(ge=1)] = 10,
    draws: Annotated[int, Field(ge=1)] = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return by ``band`` a picture of the mask (``shown``: mask) with coefficients, and of a noise (noise) with mean_noise_norm.

    mean_noise_norm is the mean L2 norm of ``draws`` noises of variance 1.

    Args:
        size: side of the image.
        bands: number of bands.
        draws: number of noises in the mean.
        seed: of the noises.
    """
    noises = band_noises((1, size, size), bands, draws, seed)
    rows: list[dict[str, Any]] = []
    for band, mask in enumerate(band_masks((size, size), bands)):
        first = noises[band, 0, 0]
        picture = 0.5 + 0.5 * first / first.abs().max().clamp(min=1e-12)
        mean = torch.linalg.vector_norm(noises[band].flatten(1), dim=1).mean().item()
        rows += [
            {"band": band, "shown": "mask", "metric": "coefficients", "value": int(mask.sum()), "unit": "1"}
            | picture_columns(mask.double()),
            {"band": band, "shown": "noise", "metric": "mean_noise_norm", "value": mean, "unit": "1"}
            | picture_columns(picture),
        ]
    return [{"size": size, **row} for row in rows]
