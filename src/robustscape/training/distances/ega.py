"""Embedding graph alignment (Ma et al. 2022c): correlations of samples within and between the two nets.

    ||P(r(z_s), z_w) - I||_F^2 + 0.3 ||P(z_s, z_s) - P(z_w, z_w)||_F^2,     each by B^2

P(a, b)[i, j] is Pearson's correlation of the embeddings a_i and b_j, r a learned linear map. Of the norms the mean over the B^2
entries is taken, so that the size of a batch does not set the learning rate. The weight of the second term is a choice: the work
states none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE_WEIGHT = 0.3


def embedding_graph_distance(source: Tensor, projected: Tensor, witness: Tensor) -> Tensor:
    """Return the sum of the node and the edge term, 0-dim, not negative.

    Args:
        source: z_s (B, D).
        projected: r(z_s), (B, D').
        witness: z_w (B, D').
    """
    edges = (correlations(source, source) - correlations(witness, witness)).square().mean()
    own = torch.eye(len(source), device=source.device, dtype=source.dtype)
    return (correlations(projected, witness) - own).square().mean() + EDGE_WEIGHT * edges


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation (B, B') of each embedding of ``a`` (B, D) with each of ``b`` (B', D), in [-1, 1]."""
    first, second = (F.normalize(z - z.mean(1, keepdim=True), dim=1) for z in (a, b))
    return first @ second.T
