"""Figure 4.5's check falls where bands are unequal or the noise is not white."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from theory_checks import replace_in_check, run_check
from torch import Tensor

from robustscape.data.dct import band_masks, idct

SIZES: dict[str, Any] = {"size": 20, "draws": 1000}


def norms(rows: list[dict[str, Any]]) -> list[float]:
    return [row["value"] for row in rows if row["metric"] == "mean_noise_norm"]


def spread_over_mean(values: list[float]) -> float:
    return (max(values) - min(values)) / (sum(values) / len(values))


def test_bands_have_equally_many_coefficients_and_noises_of_one_norm() -> None:
    rows = run_check("ma2025/frequency_bands", **SIZES)
    counts = [row["value"] for row in rows if row["metric"] == "coefficients"]
    assert counts == [40] * 10
    assert spread_over_mean(norms(rows)) <= 0.02
    assert spread_over_mean(norms(run_check("ma2025/frequency_bands"))) <= 0.02
    assert all({"pixels", "height", "width", "channels"} <= set(row) for row in rows)


def by_radius(shape: tuple[int, ...], bands: int, draws: int, seed: int) -> Tensor:
    """Bands of equal width in radius: the printed norms would not be identical."""
    white = torch.randn((draws, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    i, j = (torch.arange(size, dtype=torch.float64) for size in shape[1:])
    place = ((i[:, None] ** 2 + j**2).sqrt() / (i[-1] ** 2 + j[-1] ** 2).sqrt() * bands).long().clamp(max=bands - 1)
    return torch.stack([idct(white * (place == band)) for band in range(bands)])


def falling(shape: tuple[int, ...], bands: int, draws: int, seed: int) -> Tensor:
    """Noise whose amplitude falls with frequency."""
    white = torch.randn((draws, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack([idct(white * mask / (1 + band)) for band, mask in enumerate(band_masks(shape[1:], bands))])


@pytest.mark.parametrize("wrong", [by_radius, falling])
def test_the_check_falls(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_check(monkeypatch, "ma2025/frequency_bands", "band_noises", wrong)
    assert spread_over_mean(norms(run_check("ma2025/frequency_bands", **SIZES))) > 0.02
