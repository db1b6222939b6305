"""Hints (Romero et al. 2015, FitNets, eq 3): mean_n ||r(z_s,n) - z_w,n||_2^2, r a learned linear map."""

from __future__ import annotations

from torch import Tensor


def hint_distance(projected: Tensor, witness: Tensor) -> Tensor:
    """Return the mean over the batch of the squared distance, 0-dim.

    Args:
        projected: r(z_s), (B, D).
        witness: z_w, (B, D).
    """
    return (projected - witness).square().sum(1).mean()
