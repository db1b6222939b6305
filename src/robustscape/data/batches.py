"""Batches of a data set that lives on the device: the order of an epoch, and augmentation.

No worker processes, no image library: the whole set is a uint8 tensor on the device, a batch is one gather, and a
random crop is one gather more. Both are functions of (seed, epoch, sample), so a resumed or differently batched run
sees the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Draws(Protocol):
    """Random numbers of each sample of a batch, such as ``robustscape.attacks.base.generator.SampleGenerator``."""

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Uniform in 0..high-1, int64, (B, *shape), on the device of the batch."""
        ...


def epoch_order(count: int, seed: int, epoch: int, device: torch.device | str = "cpu") -> Tensor:
    """A permutation of 0..count-1, int64, a function of seed and epoch only.

    Made on the CPU from the raw stream of NumPy's PCG64, which is guaranteed not to change: every device, and every
    version of torch, trains in the same order. Cost: a sort, 5 ms for 50,000 samples.
    """
    keys = np.random.PCG64([seed, epoch]).random_raw(count)
    return torch.from_numpy(np.argsort(keys, kind="stable")).to(device)


def augment(x: Tensor, draws: Draws, *, crop: int = 0, flip: bool = False, cutout: int = 0) -> Tensor:
    """Randomly shifted, mirrored and covered images; the usual augmentation of CIFAR is ``crop=4, flip=True``.

    Args:
        x: images (B, C, H, W), of any type.
        draws: the samples' random numbers: one holds the place of the window and the side, one more that of the square.
        crop: pixels of zeros added on each side before an H x W window is cut out at a random place; 0: no crop.
        flip: mirror each image left to right with probability 1/2.
        cutout: side of a square of zeros whose centre is uniform in the image (DeVries and Taylor 2017); 0: none.

    Cost: B x C x H x W values are padded, gathered and mirrored once; no loop over images.
    """
    if crop or flip:
        x = _shift_and_mirror(x, draws, crop, flip)
    return _cover(x, draws, cutout) if cutout else x


def _shift_and_mirror(x: Tensor, draws: Draws, crop: int, flip: bool) -> Tensor:
    batch, _, height, width = x.shape
    places = 2 * crop + 1
    number = draws.integers(places * places * 2)
    if crop:
        windows = F.pad(x, (crop,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, C, places, places, H, W)
        place = number // 2
        x = windows[torch.arange(batch, device=x.device), :, place // places, place % places]
    if flip:
        mirrored = (number % 2).bool().view(-1, 1, 1, 1)
        x = torch.where(mirrored, x.flip(3), x)
    return x


def _cover(x: Tensor, draws: Draws, side: int) -> Tensor:
    """Zeros where both coordinates are within the square around each image's centre point."""
    height, width = x.shape[2:]
    centre = draws.integers(height * width)

    def inside(position: Tensor, count: int) -> Tensor:
        offset = torch.arange(count, device=x.device) - (position.view(-1, 1) - side // 2)
        return (offset >= 0) & (offset < side)

    covered = inside(centre // width, height).unsqueeze(2) & inside(centre % width, width).unsqueeze(1)
    return x.masked_fill(covered.unsqueeze(1), 0)
