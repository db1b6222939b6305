"""Fewer levels of a pixel (Xu et al. 2018, feature squeezing): round(x (2^b - 1)) / (2^b - 1)."""

from __future__ import annotations

from torch import Tensor


def reduce_bits(x: Tensor, bits: int = 4) -> Tensor:
    """Return inputs of the shape of ``x`` (B, ...) with 2^``bits`` levels in [0, 1].

    >>> import torch
    >>> reduce_bits(torch.tensor([0.2, 0.8]), bits=1).tolist()
    [0.0, 1.0]
    """
    levels = 2**bits - 1
    return (x * levels).round() / levels
