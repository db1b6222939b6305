"""Embedding graph alignment (Ma et al. 2022c): correlations of samples within and between the two nets.

    ||P(r(z_s), z_w) - I||_F + 0.3 ||P(r(z_s), r(z_s)) - P(z_w, z_w)||_F

P(a, b)[i, j] is Pearson's correlation of the embeddings a_i and b_j of a batch, r a learned linear map. Weights, the norms, which
are neither squared nor divided by the size of the batch, and the projected student in both terms are those of their code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NODE_WEIGHT, EDGE_WEIGHT = 1.0, 0.3


def embedding_graph_distance(projected: Tensor, witness: Tensor) -> Tensor:
    """Return the weighted sum of the node and the edge term, 0-dim, not negative; a term that is 0 has a gradient of 0.

    Args:
        projected: r(z_s), (B, D).
        witness: z_w (B, D).
    """
    own = torch.eye(len(projected), device=projected.device, dtype=projected.dtype)
    nodes = torch.linalg.vector_norm(correlations(projected, witness) - own)
    edges = torch.linalg.vector_norm(correlations(projected, projected) - correlations(witness, witness))
    return NODE_WEIGHT * nodes + EDGE_WEIGHT * edges


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation (B, B') of each embedding of ``a`` (B, D) with each of ``b`` (B', D), in [-1, 1]."""
    first, second = (F.normalize(z - z.mean(1, keepdim=True), dim=1) for z in (a, b))
    return first @ second.T
