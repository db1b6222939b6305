"""The cosine transform of images and waveforms, its frequency bands, and filters in it (ma2025 section 4.3 and appendix 4.C).

Type-II orthonormal DCT (ma2025 eq 4.4): C[k, j] = sqrt(a_k / d) cos(pi / d (j + 1/2) k), a_0 = 1, a_k = 2 else. The
spectrum of a waveform is s = C x, and x = C^T s; that of a channel of an image is S = C_H X C_W^T, and X = C_H^T S C_W.

Both filters print C (S * M) C^T in the work; with this C the inverse is C^T (S * M) C, which is what is computed. Its mask of the
low-pass filter keeps the high frequencies and not p % of them; meant, and computed, is a filter that removes the p % highest.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor

from robustscape.errors import AttackError

#: Ways to choose the coefficients that are removed from an image.
Filter = Literal["energy", "low_pass"]


@functools.lru_cache(maxsize=8)
def _dct_matrix(size: int) -> Tensor:
    k = torch.arange(size, dtype=torch.float64)[:, None]
    j = torch.arange(size, dtype=torch.float64)[None, :]
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * (j + 0.5) * k)
    matrix[0] = 1 / math.sqrt(size)
    return matrix


def dct_matrix(size: int, like: Tensor | None = None) -> Tensor:
    """Return C, (size, size), on the device and in the type of ``like`` (None: float64 on the CPU).

    >>> c = dct_matrix(5)
    >>> torch.allclose(c @ c.T, torch.eye(5, dtype=torch.float64))
    True
    """
    return _dct_matrix(size).clone() if like is None else _placed_dct_matrix(size, like.device, like.dtype)


@functools.lru_cache(maxsize=16)
def _placed_dct_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``_dct_matrix`` where it is needed: a copy to a GPU, for which every transform would wait."""
    return _dct_matrix(size).to(device, dtype)


def _transform(x: Tensor, inverse: bool) -> Tensor:
    """Transform along the signal axes: the last two of images (B, C, H, W), the last one of anything else."""
    columns = dct_matrix(x.shape[-1], x)
    x = x @ (columns if inverse else columns.T)
    if x.dim() == 4:
        rows = dct_matrix(x.shape[-2], x)
        x = (rows.T if inverse else rows) @ x
    return x


def dct(x: Tensor) -> Tensor:
    """Return the spectrum of each sample (and channel), of the shape of ``x``: (B, C, H, W), (B, T) or (B, 1, T)."""
    return _transform(x, inverse=False)


def idct(spectrum: Tensor) -> Tensor:
    """Return the samples that have this spectrum: the inverse of ``dct``."""
    return _transform(spectrum, inverse=True)


def frequency_order(shape: tuple[int, ...]) -> Tensor:
    """Return the flat indices of a spectrum (H, W) or (T,) from the lowest to the highest frequency, int64.

    The frequency of (i, j) is its radius sqrt(i^2 + j^2); ties are broken by index, so the order is the same on every
    machine.

    >>> frequency_order((2, 2)).tolist()
    [0, 1, 2, 3]
    """
    squares = [torch.arange(size, dtype=torch.int64) ** 2 for size in shape]
    radius = squares[0] if len(shape) == 1 else squares[0][:, None] + squares[1][None, :]
    return torch.argsort(radius.flatten(), stable=True)


def band_masks(shape: tuple[int, ...], bands: int = 10) -> Tensor:
    """Return the masks of bands of equally many frequencies (to within 1), from low to high: bool (bands, *shape).

    With d frequencies the first ``d mod bands`` bands have one frequency more, as in ``numpy.array_split``.

    >>> band_masks((5,), bands=2).int().tolist()
    [[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]]

    Raises:
        AttackError: there are more bands than frequencies.
    """
    order = frequency_order(shape)
    if bands > order.numel():
        raise AttackError(
            f"'bands' got {bands}; inputs of shape {shape} have {order.numel()} frequencies, which is the most."
        )
    masks = torch.zeros(bands, order.numel(), dtype=torch.bool)
    for mask, members in zip(masks, torch.tensor_split(order, bands), strict=True):
        mask[members] = True
    return masks.view(bands, *shape)


# -- filters -----------------------------------------------------------------------------------------------------------


def removed_count(shape: tuple[int, ...], percent: float) -> int:
    """Return how many of the coefficients of a spectrum are ``percent`` of them, rounded down.

    >>> removed_count((28, 28), 10)
    78
    """
    return math.floor(percent * math.prod(shape) / 100)


def low_pass_mask(shape: tuple[int, ...], percent: float) -> Tensor:
    """Return which coefficients are kept without the ``percent`` of the highest frequencies: bool, of ``shape`` (H, W) or (T,).

    >>> low_pass_mask((4,), 50).tolist()
    [True, True, False, False]
    """
    order = frequency_order(shape)
    mask = torch.ones(order.numel(), dtype=torch.bool)
    mask[order[order.numel() - removed_count(shape, percent) :]] = False
    return mask.view(shape)


def energy_mask(spectrum: Tensor, percent: float) -> Tensor:
    """Return which coefficients of each image are kept without the ``percent`` of the smallest magnitudes: bool (B, 1, H, W).

    The channels of an image share the mask, which is that of the mean of their magnitudes (the work does not say; so does its
    authors' code). Of equal magnitudes the first ones are removed.

    Args:
        spectrum: (B, C, H, W), of ``dct``.
        percent: share of the coefficients that is removed, in [0, 100].
    """
    height, width = spectrum.shape[2:]
    magnitude = spectrum.abs().mean(1).flatten(1)
    smallest = magnitude.argsort(dim=1, stable=True)[:, : removed_count((height, width), percent)]
    mask = torch.ones_like(magnitude, dtype=torch.bool).scatter_(1, smallest, False)
    return mask.view(-1, 1, height, width)


def filter_images(x: Tensor, kind: Filter, percent: float) -> Tensor:
    """Return images (B, C, H, W) without ``percent`` of their coefficients; they are not clipped, so they may leave [0, 1].

    A mirrored image has the same magnitudes, so filtering and mirroring can change places.

    Args:
        x: images (B, C, H, W), floats.
        kind: "energy": those of the smallest magnitude, image by image; "low_pass": those of the highest frequency.
        percent: share of the coefficients that is removed, in [0, 100]; at 0 the images come back as they are.
    """
    if percent == 0:
        return x
    spectrum = dct(x)
    height, width = x.shape[2:]
    if kind == "energy":
        return idct(spectrum * energy_mask(spectrum, percent))
    return idct(spectrum * _placed_low_pass_mask((height, width), percent, spectrum.device))


@functools.lru_cache(maxsize=16)
def _placed_low_pass_mask(shape: tuple[int, ...], percent: float, device: torch.device) -> Tensor:
    """``low_pass_mask`` where it is needed: a copy to a GPU, for which every batch would wait."""
    return low_pass_mask(shape, percent).to(device)
