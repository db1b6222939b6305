"""The objectives of attacks: one number per sample, from logits (B, C) and labels (B,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(z)_y, shape (B,)."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, shape (B,): positive when misclassified (Carlini & Wagner 2017, f_6 without kappa)."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, y[:, None]).squeeze(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio, shape (B,) (Croce & Hein 2020, eq 6): -(z_y - max_{j!=y} z_j) / (z_p1 - z_p3).

    With fewer than three classes p3 does not exist; the last logit stands in, as a scale that stays positive.
    """
    ordered = logits.topk(min(3, logits.shape[1]), dim=1).values
    scale = ordered[:, 0] - ordered[:, -1]
    return margin(logits, y) / (scale + 1e-12)


def dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR, shape (B,) (Croce & Hein 2020, eq 7): -(z_y - z_t) / (z_p1 - (z_p3 + z_p4)/2); needs 4 classes."""
    ordered = logits.topk(4, dim=1).values
    scale = ordered[:, 0] - 0.5 * (ordered[:, 2] + ordered[:, 3])
    label, goal = (logits.gather(1, index[:, None]).squeeze(1) for index in (y, target))
    return (goal - label) / (scale + 1e-12)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
