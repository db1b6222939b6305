"""How much accuracy falls under noise in one band of frequencies: ma2025 equation 4.5, figures 4.6 and 4.17.

    change_i = accuracy(x) - mean over K draws of accuracy(x + dx_k),    dx_k = C^T (M_i * delta_k) C,    delta ~ N(0, variance)

The K draws are the same for every input, band and net; each is one white draw of which a band's mask takes its part. Channels
are drawn independently. The noise is added as it is, since a clamp would spread it over the other bands. The variance is not
stated. Cost: 1 + bands K forward passes of all samples for each net.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.data.dct import band_masks, idct
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun


def band_sensitivity(
    runs: list[TrainedRun],
    *,
    variance: Annotated[float, Field(gt=0)],
    bands: Annotated[int, Field(ge=1)] = 10,
    draws: Annotated[int, Field(ge=1)] = 10,
    samples: Annotated[int, Field(ge=1)] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows accuracy_change (percentage points; positive: accuracy falls) by ``seed`` of a net and ``band``, and accuracy.

    Rows ``setting`` count, by ``quantity``, the bands, the draws and the nets.

    Args:
        runs: nets that differ in their seed.
        variance: of each coefficient of the noise.
        bands: number of bands of equally many frequencies, 0 the lowest.
        draws: K.
        samples: first test samples; None for all.
        seed: of the draws.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        x, y = run.subset("test", samples)
        clean = percent_true(correctly_classified(run.model, x, y))
        accuracy = {"metric": "accuracy", "value": clean, "unit": "percent"}
        rows.append({"seed": run.seed, "split": "test", "samples": len(y), "model_mode": "eval", **accuracy})
        noises = band_noises(tuple(x.shape[1:]), bands, draws, seed)
        shared = {"seed": run.seed, "split": "test", "samples": len(y), "variance": variance, "model_mode": "eval"}
        for band in range(bands):
            noisy = [
                percent_true(correctly_classified(run.model, x + (variance**0.5 * noise).to(x), y))
                for noise in noises[band]
            ]
            change = {"metric": "accuracy_change", "value": clean - sum(noisy) / draws, "unit": "percentage_points"}
            rows.append({**shared, "band": band, **change})
    counted = {
        "number_of_bands": len(noises),
        "noise_samples_K": len(noises[0]),
        "models_per_optimizer": len({run.seed for run in runs}),
    }
    settings = [
        {"quantity": name, "metric": "setting", "value": value, "unit": "count"} for name, value in counted.items()
    ]
    return [*rows, *settings]


def band_noises(shape: tuple[int, ...], bands: int, draws: int, seed: int) -> Tensor:
    """Return noises of variance 1 per coefficient of a band, float64 (bands, draws, C, H, W); a draw is shared by the bands.

    Args:
        shape: (C, H, W).
        bands: number of bands.
        draws: number of draws.
        seed: of the draws.
    """
    white = torch.randn((draws, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    masks = band_masks(shape[1:], bands)
    return torch.stack([idct(white * mask) for mask in masks])
