"""Classes and the superclasses they belong to, as the hierarchical attacks of ma2025 chapter 5 need them."""

from __future__ import annotations

import torch
from torch import Tensor

from robustscape.attacks.base.losses import Loss
from robustscape.errors import AttackError


def class_superclasses(mapping: list[int], logits: Tensor) -> Tensor:
    """Return ``mapping`` (the superclass of each class) as int64 (C,) on the device of ``logits`` (B, C).

    Raises:
        AttackError: ``mapping`` does not have one entry per logit, or has a single superclass.
    """
    if len(mapping) != logits.shape[1]:
        raise AttackError(
            f"'superclass' (the hierarchy) maps {len(mapping)} classes, but the model has {logits.shape[1]} logits."
        )
    if len(set(mapping)) < 2:
        raise AttackError("'superclass' names a single superclass, which no attack can leave; at least 2 are needed.")
    return torch.tensor(mapping, device=logits.device)


def same_superclass(mapping: list[int], logits: Tensor, y: Tensor) -> Tensor:
    """Return, for each sample, which classes share the superclass of ``y`` (B,): bool (B, C)."""
    members = class_superclasses(mapping, logits)
    return members[None, :] == members[y][:, None]


def outside_superclass(mapping: list[int], logits: Tensor, y: Tensor) -> Tensor:
    """Return, for each sample, whether the predicted class lies outside the superclass of ``y`` (B,): bool (B,)."""
    return ~same_superclass(mapping, logits, y).gather(1, logits.argmax(1, keepdim=True)).squeeze(1)


def group_loss(mapping: list[int]) -> Loss:
    """Return the cross-entropy of the superclass, -log sum_{j in z*} p_j, as a per-sample loss (B,); p = softmax(logits).

    It is computed as log(1 + exp(lse_outside - lse_inside)), whose gradient does not cancel when the model is certain.

    >>> loss = group_loss([0, 0, 1, 1])
    >>> round(loss(torch.zeros(1, 4), torch.tensor([0])).item(), 4)  # half of the probability: log 2
    0.6931
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        inside = same_superclass(mapping, logits, y)
        outside = logits.masked_fill(inside, -torch.inf).logsumexp(1)
        odds = outside - logits.masked_fill(~inside, -torch.inf).logsumexp(1)
        return torch.logaddexp(odds, torch.zeros_like(odds))

    return loss
