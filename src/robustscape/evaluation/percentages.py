"""Percentages of masks, in double or in single precision."""

from __future__ import annotations

from torch import Tensor


def percent_true(mask: Tensor) -> float:
    """Return the percentage of true values, in [0, 100]; NaN if ``mask`` is empty.

    >>> import torch
    >>> percent_true(torch.tensor([True, False, False, False]))
    25.0
    """
    return 100.0 * mask.double().mean().item()


def percent_true_fp32(mask: Tensor) -> float:
    """Return the percentage of true values, in [0, 100], from a mean in single precision; NaN if ``mask`` is empty.

    Accuracies of attacks and suites are computed by it; it differs from ``percent_true`` by less than 1e-5.

    >>> import torch
    >>> percent_true_fp32(torch.tensor([True, False, False, False]))
    25.0
    """
    return 100.0 * mask.float().mean().item()
