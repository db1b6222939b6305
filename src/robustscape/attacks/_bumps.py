"""Windows of images and the bumps that fill them: what the Square attack in L2 and L1 changes an image by.

Andriushchenko et al. (2020), section 4.3 and eq 2, for L2; Croce & Hein (2021), section 5, for L1, where bumps are steeper.
Images one pixel high are waveforms and vectors; their windows are intervals.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator

BumpNorm = Literal["L2", "L1"]

#: Norm -> the power with which nested squares of a peak become lower.
STEEPNESS = {"L2": 2, "L1": 4}


def grid_of_bumps(images: Tensor, norm: BumpNorm, generator: SampleGenerator) -> Tensor:
    """A grid of 5 x 5 bumps (5 in a row for waveforms), each of norm 1 and each channel's of random sign, shape of ``images``."""
    offset = torch.zeros_like(images)
    height, width = images.shape[2:]
    tile = (1, max(width // 5, 1)) if height == 1 else (max(min(height, width) // 5, 1),) * 2
    bump = one_bump(*tile, images, norm)
    for top in range((height % tile[0]) // 2, height - tile[0] + 1, tile[0]):
        for left in range((width % tile[1]) // 2, width - tile[1] + 1, tile[1]):
            patch = _turned(bump, generator) * generator.signs((images.shape[1], 1, 1))
            offset[:, :, top : top + tile[0], left : left + tile[1]] += patch
    return offset


def random_windows(
    images: Tensor, share: float, norm: BumpNorm, generator: SampleGenerator
) -> tuple[Tensor, Tensor, Tensor]:
    """Two windows of each sample that cover a share of the image, and a bump of random signs for each channel.

    Returns:
        Flat positions of the pixels of either window, int64 (B, C, h * w), and the bumps, (B, C, h * w).
    """
    channels, height, width = images.shape[1:]
    window = window_sides(share, images, least=3)
    if height > 1 and window[0] % 2 == 0 and window[0] < min(height, width):
        window = (window[0] + 1, window[0] + 1)

    def pixels() -> Tensor:
        top, left = (generator.integers(n - m + 1) for n, m in zip((height, width), window, strict=True))
        down = top[:, None, None] + torch.arange(window[0], device=images.device)[:, None]
        across = left[:, None, None] + torch.arange(window[1], device=images.device)
        return (down * width + across).flatten(1)[:, None].expand(-1, channels, -1)

    first, second = pixels(), pixels()
    bump = _turned(one_bump(*window, images, norm), generator) * generator.signs((channels, 1, 1))
    return first, second, bump.flatten(2)


def window_sides(share: float, images: Tensor, least: int) -> tuple[int, int]:
    """Height and width of a window with that share of the image; an interval in images one pixel high."""
    height, width = images.shape[-2:]
    if height == 1:
        return 1, min(max(round(share * width), least), width)
    side = max(round(math.sqrt(share * height * width)), least)
    side = min(side, height, width)
    return side, side


def one_bump(height: int, width: int, like: Tensor, norm: BumpNorm) -> Tensor:
    """eta^(h, w), (1, 1, h, w): two peaks of opposite sign, one in each half, of norm 1."""
    halves = (height // 2, height - height // 2) if height > 1 else (width // 2, width - width // 2)
    parts = [_peak(half, width, like, norm) if height > 1 else _peak(1, half, like, norm) for half in halves]
    bump = torch.cat([parts[0], -parts[1]], dim=0 if height > 1 else 1)
    return _unit(bump, norm)[None, None]


def _peak(height: int, width: int, like: Tensor, norm: BumpNorm) -> Tensor:
    """A sum of nested squares about the centre, the k-th of height 1 / (k + 1)^2, in L1 1 / (k + 1)^4; of norm 1."""
    rings = max(height, width) // 2 + 1
    down = (torch.arange(height, device=like.device) - height // 2).abs()
    across = (torch.arange(width, device=like.device) - width // 2).abs()
    distance = torch.maximum(down[:, None], across[None, :])
    heights = 1.0 / torch.arange(1, rings + 1, device=like.device, dtype=like.dtype) ** STEEPNESS[norm]
    tails = heights.flip(0).cumsum(0).flip(0)
    peak = tails[distance.clamp(max=rings - 1)] if height * width else like.new_zeros(height, width)
    return _unit(peak, norm)


def _unit(x: Tensor, norm: BumpNorm) -> Tensor:
    return x / (x.norm() if norm == "L2" else x.abs().sum()).clamp_min(1e-12)


def _turned(bump: Tensor, generator: SampleGenerator) -> Tensor:
    """The bump lying or standing at random for each sample, (B, 1, h, w)."""
    count = len(generator)
    if bump.shape[2] != bump.shape[3]:
        return bump.expand(count, -1, -1, -1)
    standing = generator.uniform((1, 1, 1)) < 0.5
    return torch.where(standing, bump, bump.transpose(2, 3))
