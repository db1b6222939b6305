"""Relational knowledge distillation (Park et al. 2019, eqs 4 to 9): distances between samples, and angles of triplets.

    25 L_delta(psi_D) + 50 L_delta(psi_A),     L_delta the smooth L1 (Huber) loss with its turn at 1

psi_D is the Euclidean distance of two embeddings by the mean distance of the batch (section 3.2.1), psi_A the cosine of the angle
at one of three embeddings; means are over all ordered pairs and triplets of the batch. Weights are those of the authors for
metric learning and ImageNet-like data; the work states none. The source's embedding is projected, as for the other distances
(ma2025 appendix 6.A), although the relations of two embeddings can be compared if their lengths differ.

Cost: B^3 cosines of a batch of B, which are found twice: ``ANCHORS`` B^2 of them are kept at once, and B^2 D differences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

DISTANCE_WEIGHT, ANGLE_WEIGHT = 25.0, 50.0

#: Samples at which angles are compared at once: 16 * 512^2 cosines are 17 MB, 512^3 would be 537 MB.
ANCHORS = 16


def relational_distance(projected: Tensor, witness: Tensor) -> Tensor:
    """Return the weighted sum of both terms, 0-dim, not negative; 0 for embeddings that differ by a rotation and a scale.

    Args:
        projected: r(z_s), (B, D).
        witness: z_w (B, D'); no gradient reaches it.
    """
    theirs = witness.detach()
    distance = F.smooth_l1_loss(relative_distances(projected), relative_distances(theirs))
    return DISTANCE_WEIGHT * distance + ANGLE_WEIGHT * angle_term(projected, theirs)


def relative_distances(z: Tensor) -> Tensor:
    """Return the distances (B, B) of embeddings (B, D), divided by the mean of those that are not 0."""
    squares = (z[:, None] - z[None, :]).square().sum(2)
    apart = squares > 0
    # The root has no finite slope at 0, where a sample meets itself.
    distances = torch.where(apart, squares, torch.ones_like(squares)).sqrt() * apart
    return distances / (distances.sum() / apart.sum().clamp_min(1)).clamp_min(torch.finfo(z.dtype).tiny)


def angle_term(own: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean over all ordered triplets of the loss between the cosines of (B, D) and (B, D'), 0-dim."""
    parts = [
        checkpoint(_angle_losses, own, theirs, anchors, use_reentrant=False)
        for anchors in torch.arange(len(own), device=own.device).split(ANCHORS)
    ]
    return torch.stack(parts).sum() / len(own) ** 3


def _angle_losses(own: Tensor, theirs: Tensor, anchors: Tensor) -> Tensor:
    """Return the sum over the triplets whose angle is at one of ``anchors`` (numbers of samples)."""
    return F.smooth_l1_loss(angle_cosines(own, anchors), angle_cosines(theirs, anchors), reduction="sum")


def angle_cosines(z: Tensor, anchors: Tensor) -> Tensor:
    """Return the cosine (A, B, B) of the angle at each of ``anchors`` (A,) between any two of embeddings (B, D); 0 at itself."""
    towards = F.normalize(z[None, :] - z[anchors, None], dim=2)
    return torch.bmm(towards, towards.transpose(1, 2))
