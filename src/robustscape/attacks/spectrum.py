"""The cosine transform of images and waveforms, and its frequency bands (ma2025 section 4.4 and appendix 4.C).

Type-II orthonormal DCT (ma2025 eq 4.4): C[k, j] = sqrt(a_k / d) cos(pi / d (j + 1/2) k), a_0 = 1, a_k = 2 else. The
spectrum of a waveform is s = C x, and x = C^T s; that of a channel of an image is S = C_H X C_W^T, and X = C_H^T S C_W.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.errors import AttackError


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
    matrix = _dct_matrix(size)
    return matrix.clone() if like is None else matrix.to(like)


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


def band_noise(shape: tuple[int, ...], mask: Tensor, generator: SampleGenerator) -> Tensor:
    """Return Gaussian noise of variance 1 per coefficient of a band and 0 elsewhere: (B, *shape), one draw per sample.

    It is computed in float64, where the batch size does not show in the products.

    Args:
        shape: shape of one sample, (C, H, W), (T,) or (1, T).
        mask: the band, bool (H, W) or (T,); the draws of the channels are independent.
        generator: random streams, one per sample.
    """
    coefficients = generator.normal(shape).double()
    return idct(coefficients * mask.to(coefficients))
