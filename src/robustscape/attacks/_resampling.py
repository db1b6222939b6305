"""Shrinking with zero-padding, and smoothing: the transformations behind DI/DIM and TI/TIM.

Every sample has its own size and place, so results do not depend on the batch. Images (B, C, H, W) are transformed along
height and width; everything else, such as waveforms (B, T) or (B, 1, T), along the last axis.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.errors import AttackError


def signal_axes(x: Tensor) -> tuple[int, ...]:
    """Return the axes along which ``x`` is a signal: (2, 3), height and width, for images; the last axis for waveforms."""
    return (2, 3) if x.dim() == 4 else (x.dim() - 1,)


def require_images(x: Tensor, attack: str) -> None:
    """Raise an AttackError that names ``attack`` unless ``x`` has the shape (B, C, H, W)."""
    if x.dim() != 4:
        raise AttackError(f"{attack} is for images of shape (B, C, H, W), got inputs of shape {tuple(x.shape)}.")


def require_waveforms(x: Tensor, attack: str) -> None:
    """Raise an AttackError that names ``attack`` unless ``x`` has the shape (B, T) or (B, 1, T)."""
    if x.dim() != 2 and not (x.dim() == 3 and x.shape[1] == 1):
        raise AttackError(
            f"{attack} is for waveforms of shape (B, T) or (B, 1, T), got inputs of shape {tuple(x.shape)}."
        )


def shrink_and_pad(x: Tensor, size: Tensor, place: Tensor, axis: int) -> Tensor:
    """Return ``x`` resized linearly along ``axis`` to ``size`` and padded with zeros to the old length; differentiable.

    Sampling positions are those of ``F.interpolate(mode="linear" or "bilinear", align_corners=False)``. The full size at
    place 0 is the identity, bit for bit.

    Args:
        x: (B, ...).
        size: new length of each sample, (B,), whole numbers from 1 to the length of ``axis``.
        place: zeros before each sample, (B,), whole numbers from 0 to the old length minus ``size``.
        axis: axis of ``x``, the batch axis being 0.
    """
    length = x.shape[axis]
    along = [x.shape[i] if i in (0, axis) else 1 for i in range(x.dim())]
    position = torch.arange(length, device=x.device) - place[:, None]
    inside = (position >= 0) & (position < size[:, None])
    source = ((position + 0.5) * (length / size[:, None]) - 0.5).clamp(0, length - 1).to(x.dtype)
    low = source.floor()
    weight, inside = (source - low).view(*along), inside.view(*along)
    first = low.long()
    below, above = (
        x.gather(axis, index.view(*along).expand_as(x)) for index in (first, (first + 1).clamp(max=length - 1))
    )
    return torch.where(inside, below + weight * (above - below), 0.0)


def random_places(length: int, size: Tensor, generator: SampleGenerator) -> Tensor:
    """Return uniform whole numbers in [0, length - size), (B,), and 0 where ``size`` is ``length``.

    The right end is excluded, as in the authors' code of DI-FGSM and in torchattacks.
    """
    return (generator.uniform(()) * (length - size)).floor()


def gaussian_kernel(length: int, reach: float = 3.0) -> Tensor:
    """Return the standard normal density at ``length`` equally spaced points of [-reach, reach], scaled to sum 1, (length,).

    >>> gaussian_kernel(3).tolist()  # doctest: +ELLIPSIS
    [0.0108..., 0.9782..., 0.0108...]
    """
    points = torch.linspace(-reach, reach, length, dtype=torch.float64)
    density = torch.exp(-0.5 * points**2)
    return (density / density.sum()).float()


def smooth_signal(x: Tensor, kernel: Tensor) -> Tensor:
    """Return ``x`` (B, ...) convolved with ``kernel`` (K,) along each of its signal axes, zero-padded to the same size."""
    for axis in signal_axes(x):
        moved = x.movedim(axis, -1)
        rows = moved.reshape(-1, 1, moved.shape[-1])
        x = F.conv1d(rows, kernel.to(x).view(1, 1, -1), padding="same").view_as(moved).movedim(-1, axis)
    return x
