"""Classes and the superclasses they belong to, as the hierarchical attacks of ma2025 chapter 5 need them."""

from __future__ import annotations

import torch
from torch import Tensor

from robustscape.attacks.base.losses import Loss
from robustscape.errors import AttackError


def class_superclasses(mapping: list[int], logits: Tensor) -> Tensor:
    """``mapping`` (superclass of class 0, 1, ...) as int64 (C,) beside ``logits`` (B, C)."""
    if len(mapping) != logits.shape[1]:
        raise AttackError(f"the hierarchy maps {len(mapping)} classes, but the model has {logits.shape[1]} logits.")
    if len(set(mapping)) < 2:
        raise AttackError("the hierarchy has a single superclass, which no attack can leave.")
    return torch.tensor(mapping, device=logits.device)


def same_superclass(mapping: list[int], logits: Tensor, y: Tensor) -> Tensor:
    """Which classes share the superclass of ``y``: bool (B, C)."""
    members = class_superclasses(mapping, logits)
    return members[None, :] == members[y][:, None]


def outside_superclass(mapping: list[int], logits: Tensor, y: Tensor) -> Tensor:
    """Whether the predicted class lies outside the superclass of ``y``: bool (B,)."""
    return ~same_superclass(mapping, logits, y).gather(1, logits.argmax(1, keepdim=True)).squeeze(1)


def group_loss(mapping: list[int]) -> Loss:
    """-log sum_{j in z*} p_j, (B,): cross-entropy of the superclass, p the softmax of the logits.

    Written as log(1 + exp(lse_outside - lse_inside)), whose gradient does not cancel when the model is sure.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        inside = same_superclass(mapping, logits, y)
        outside = logits.masked_fill(inside, -torch.inf).logsumexp(1)
        odds = outside - logits.masked_fill(~inside, -torch.inf).logsumexp(1)
        return torch.logaddexp(odds, torch.zeros_like(odds))

    return loss
