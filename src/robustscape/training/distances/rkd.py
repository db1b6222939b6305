"""Relational knowledge distillation (Park et al. 2019, eqs 4 to 9): distances between samples, and angles of triplets.

    25 L_delta(psi_D) + 50 L_delta(psi_A),     L_delta the smooth L1 (Huber) loss with its turn at 1

psi_D is the Euclidean distance of two embeddings by the mean distance of the batch (section 3.2.1), psi_A the cosine of the angle
at the second of three embeddings. Weights are those of the authors for metric learning and ImageNet-like data; the work states
none. The lengths of the two embeddings may differ. Cost: B^3 cosines of a batch of B; at most ``MOST`` samples of it are used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DISTANCE_WEIGHT, ANGLE_WEIGHT = 25.0, 50.0

#: Samples of a batch whose triplets are compared: 128^3 cosines are 8 MB, 512^3 would be 537 MB.
MOST = 128


def relational_distance(source: Tensor, witness: Tensor) -> Tensor:
    """Return the weighted sum of both terms, 0-dim, not negative; 0 for embeddings that differ by a rotation and a scale.

    Args:
        source: z_s (B, D).
        witness: z_w (B, D'); no gradient reaches it.
    """
    own, theirs = source[:MOST], witness[:MOST].detach()
    distance = F.smooth_l1_loss(relative_distances(own), relative_distances(theirs))
    return DISTANCE_WEIGHT * distance + ANGLE_WEIGHT * F.smooth_l1_loss(angle_cosines(own), angle_cosines(theirs))


def relative_distances(z: Tensor) -> Tensor:
    """Return the distances (B, B) of embeddings (B, D), divided by the mean of those that are not 0."""
    squares = (z[:, None] - z[None, :]).square().sum(2)
    apart = squares > 0
    # The root has no finite slope at 0, where a sample meets itself.
    distances = torch.where(apart, squares, torch.ones_like(squares)).sqrt() * apart
    return distances / (distances.sum() / apart.sum().clamp_min(1)).clamp_min(torch.finfo(z.dtype).tiny)


def angle_cosines(z: Tensor) -> Tensor:
    """Return the cosine (B, B, B) of the angle at each first of three embeddings (B, D) between the two others; 0 at itself."""
    towards = F.normalize(z[None, :] - z[:, None], dim=2)
    return torch.bmm(towards, towards.transpose(1, 2))
