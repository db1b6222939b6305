"""Percentages of masks, computed in double precision."""

from __future__ import annotations

from torch import Tensor


def percent_true(mask: Tensor) -> float:
    """Return the percentage of true values, in [0, 100]; NaN if ``mask`` is empty.

    >>> import torch
    >>> percent_true(torch.tensor([True, False, False, False]))
    25.0
    """
    return 100.0 * mask.double().mean().item()
