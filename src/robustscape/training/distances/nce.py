"""Noise-contrastive estimation (Chen et al. 2021): a sample's embeddings in both nets are found among those of the batch.

    -mean_i log softmax_j( cos(r(z_s,i), z_w,j) / 0.07 )[i],     r a learned linear map

The other samples of the batch are the noise. The temperature is that of van den Oord et al.'s successors; the work states none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.07


def contrastive_distance(projected: Tensor, witness: Tensor) -> Tensor:
    """Return the mean over the batch, 0-dim, in nats; ln B where the embeddings say nothing.

    Args:
        projected: r(z_s), (B, D).
        witness: z_w, (B, D).
    """
    logits = F.normalize(projected, dim=1) @ F.normalize(witness, dim=1).T / TEMPERATURE
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
