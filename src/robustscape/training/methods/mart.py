"""MART: misclassification-aware adversarial training (Wang et al. 2020; kim2023 chapter 3, part B, where it is a baseline).

    mean_n BCE(p(x*_n), y_n) + beta (1 - p_y(x_n)) KL( p(x_n) || p(x*_n) ),
    BCE(q, y) = -log q_y - log(1 - max_{k != y} q_k)

x* is the recipe's attack (PGD on the cross-entropy). The weight 1 - p_y takes part in the gradient, as in the authors' code.
log(1 - q_k) is summed from the other classes' probabilities, so that it needs no guard against log 0. Clean and attacked
inputs are passed one after the other, each with its own batch statistics. Cost with PGD-k: k forward and input-backward
passes, 2 forward and backward (2k + 6 forward-equivalents).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack


def mart(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    beta: Annotated[float, Field(ge=0)] = 5.0,
) -> Callable[[], Tensor]:
    """Return the loss above as an objective; the attack runs once.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack.
        beta: weight of the regulariser.
    """
    x_adv = attack(model, x, y)
    return lambda: mart_loss(model(x), model(x_adv), y, beta)


def mart_loss(clean: Tensor, attacked: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return MART's loss from logits (B, C) of clean and attacked inputs; 0-dim."""
    log_p, log_q = clean.log_softmax(1), attacked.log_softmax(1)
    true, classes = y[:, None], torch.arange(clean.shape[1], device=y.device)
    rival = log_q.detach().scatter(1, true, -torch.inf).argmax(1, keepdim=True)
    rest = log_q.masked_fill(classes == rival, -torch.inf).logsumexp(1)  # log(1 - q_rival)
    boosted = F.nll_loss(log_q, y) - rest.mean()
    divergence = (log_p.exp() * (log_p - log_q)).sum(1)
    return boosted + beta * (divergence * (1 - log_p.gather(1, true).squeeze(1).exp())).mean()
