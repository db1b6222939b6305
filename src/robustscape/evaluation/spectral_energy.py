"""Where the energy of a data set's images lies in their cosine spectrum: ma2025 figures 4.2 and 4.10, appendix 4.E.

S[i, j] = mean |s_n[i, j]| over all training images, unaugmented, and over channels (the work does not say how it takes colours).
The net is not used. Cost: one transform per image.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.data.dct import dct, frequency_order
from robustscape.evaluation.trained_run import TrainedRun

#: Images of a pass.
BATCH = 100


def spectral_energy(
    run: TrainedRun, *, samples: Annotated[int, Field(ge=1)] | None = None, cells: Annotated[int, Field(ge=2)] = 56
) -> list[dict[str, Any]]:
    """Return rows mean_abs_dct by ``vertical`` and ``horizontal`` frequency, and what follows from the spectrum.

    diagonal_amplitude is S[k, k] by ``frequency`` k; low_half_energy_share and low_tenth_energy_share are the percentage of the
    squared coefficients, averaged over images, that the lowest half and tenth of the frequencies hold (by radius). The
    coefficient of the mean does not count (it has 3/4 of the energy of white noise in [0, 1]).

    Args:
        run: its training images.
        samples: first training images; None for all.
        cells: most cells of a side of the map; larger spectra are averaged in blocks, whose first frequency names them.
    """
    amplitude, energy, count = mean_spectrum(run, samples)
    height, width = amplitude.shape
    block = -(-max(height, width) // cells)
    shared = {"samples": count, "split": "train", "unit": "1"}
    blocks: list[dict[str, Any]] = [
        {"vertical": i, "horizontal": j, "metric": "mean_abs_dct"}
        | {"value": amplitude[i : i + block, j : j + block].mean().item()}
        for i in range(0, height, block)
        for j in range(0, width, block)
    ]
    diagonal: list[dict[str, Any]] = [
        {"frequency": k, "metric": "diagonal_amplitude", "value": amplitude[k, k].item()}
        for k in range(min(height, width))
    ]
    order = frequency_order((height, width))[1:]
    total = energy.flatten()[order].sum()
    shares: list[dict[str, Any]] = [
        {"metric": f"low_{name}_energy_share", "unit": "percent"}
        | {"value": (100 * energy.flatten()[order[: round(part * order.numel())]].sum() / total).item()}
        for name, part in (("half", 0.5), ("tenth", 0.1))
    ]
    return [{**shared, **row} for row in (*blocks, *diagonal, *shares)]


def mean_spectrum(run: TrainedRun, samples: int | None) -> tuple[Tensor, Tensor, int]:
    """Return the mean magnitude and the mean square of each coefficient, float64 (H, W), and the number of images."""
    count = len(run.train) if samples is None else min(samples, len(run.train))
    amplitude, energy = torch.zeros(()), torch.zeros(())
    for start in range(0, count, BATCH):
        spectrum = dct(run.train.inputs(slice(start, min(start + BATCH, count))).double())
        amplitude = amplitude + spectrum.abs().mean(1).sum(0).cpu()
        energy = energy + spectrum.square().mean(1).sum(0).cpu()
    return amplitude / count, energy / count, count
