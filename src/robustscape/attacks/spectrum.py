"""The cosine transform of images and waveforms, and its frequency bands (ma2025 section 4.4 and appendix 4.C).

Type-II orthonormal DCT (ma2025 eq 4.4): C[k, j] = sqrt(a_k / d) cos(pi / d (j + 1/2) k), a_0 = 1, a_k = 2 else. A
waveform has the spectrum C x and is C^T times its spectrum; an image has C_H X C_W^T per channel and is C_H^T Xt C_W.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator


@functools.lru_cache(maxsize=8)
def _dct_matrix(size: int) -> Tensor:
    k = torch.arange(size, dtype=torch.float64)[:, None]
    j = torch.arange(size, dtype=torch.float64)[None, :]
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * (j + 0.5) * k)
    matrix[0] = 1 / math.sqrt(size)
    return matrix


def dct_matrix(size: int, like: Tensor | None = None) -> Tensor:
    """C, (size, size), on the device and in the type of ``like`` (None: float64 on the CPU).

    >>> c = dct_matrix(5)
    >>> torch.allclose(c @ c.T, torch.eye(5, dtype=torch.float64))
    True
    """
    matrix = _dct_matrix(size)
    return matrix.clone() if like is None else matrix.to(like)


def _along(x: Tensor, inverse: bool) -> Tensor:
    """The transform along the signal axes: the last two of images (B, C, H, W), the last of anything else."""
    columns = dct_matrix(x.shape[-1], x)
    x = x @ (columns if inverse else columns.T)
    if x.dim() == 4:
        rows = dct_matrix(x.shape[-2], x)
        x = (rows.T if inverse else rows) @ x
    return x


def dct(x: Tensor) -> Tensor:
    """Spectrum of each sample (and channel), of the shape of ``x``."""
    return _along(x, inverse=False)


def idct(spectrum: Tensor) -> Tensor:
    """What has this spectrum: the inverse of ``dct``."""
    return _along(spectrum, inverse=True)


def frequency_order(shape: tuple[int, ...]) -> Tensor:
    """Flat indices of a spectrum (H, W) or (T,) from the lowest to the highest frequency.

    The frequency of (i, j) is its radius sqrt(i^2 + j^2); ties go by index, so the order is one and the same
    everywhere.
    """
    squares = [torch.arange(size, dtype=torch.int64) ** 2 for size in shape]
    radius = squares[0] if len(shape) == 1 else squares[0][:, None] + squares[1][None, :]
    return torch.argsort(radius.flatten(), stable=True)


def band_masks(shape: tuple[int, ...], bands: int = 10) -> Tensor:
    """The frequencies cut into bands of equal count (to within 1), low to high: bool (bands, *shape).

    The first ``d mod bands`` bands are the ones with one frequency more, as in ``numpy.array_split``.
    """
    order = frequency_order(shape)
    masks = torch.zeros(bands, order.numel(), dtype=torch.bool)
    for mask, members in zip(masks, torch.tensor_split(order, bands), strict=True):
        mask[members] = True
    return masks.view(bands, *shape)


def band_noise(shape: tuple[int, ...], mask: Tensor, generator: SampleGenerator) -> Tensor:
    """Gaussian noise of unit variance a coefficient, inside a band only: (B, *shape), one draw a sample.

    In float64, where the products do not show in how large a batch they were computed.

    Args:
        shape: of one sample, (C, H, W), (T,) or (1, T).
        mask: bool, (H, W) or (T,); the channels' draws are independent.
        generator: the samples' random streams.
    """
    coefficients = generator.normal(shape).double()
    return idct(coefficients * mask.to(coefficients))
