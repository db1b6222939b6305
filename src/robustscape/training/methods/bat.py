"""Bridged adversarial training (BAT): the divergence of clean and attacked predictions, taken in m steps.

kim2023 chapter 3, part B, algorithm 2 (Kim & Lee 2021). With gamma(t) = x + t (x* - x) and p = softmax(f),

    mean_n KL( y_n || p(x_n) ) + beta sum_{k=0}^{m-1} KL( p(gamma_n(k/m)) || p(gamma_n((k+1)/m)) )

m = 1 has the shape of TRADES' loss. The work leaves the path open (straight here) and the inner loss (the algorithm's attack
takes the label, so x* is the recipe's attack on the cross-entropy, as for AT). No probability is held constant. The m + 1
points pass the net one after the other, from clean to attacked, each with batch statistics of its own, as in the authors' code
and as with TRADES, from which it differs in the bridge and in x*: TRADES' attack ascends the divergence from a Gaussian start.
Cost with PGD-k: k forward and input-backward passes, m + 1 forward and backward (2k + 3(m + 1) forward-equivalents).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack


def bat(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    beta: Annotated[float, Field(ge=0)] = 5.0,
    bridges: Annotated[int, Field(ge=1)] = 2,
) -> Callable[[], Tensor]:
    """Return the loss above as an objective; the attack runs once.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack.
        beta: weight of each segment's divergence.
        bridges: m, the number of segments.
    """
    points = interpolate(x, attack(model, x, y), bridges)
    return lambda: bat_loss(torch.stack([model(point) for point in points.chunk(bridges + 1)]), y, beta)


def interpolate(x: Tensor, x_adv: Tensor, bridges: int) -> Tensor:
    """Return gamma(0), gamma(1/m), ..., gamma(1) as one batch of (m + 1) B inputs; both ends are exact."""
    inner = [torch.lerp(x, x_adv, k / bridges) for k in range(1, bridges)]
    return torch.cat([x, *inner, x_adv])


def bat_loss(logits: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return BAT's loss from logits (m + 1, B, C) along the path; 0-dim."""
    log_p = logits.log_softmax(2)
    divergence = (log_p[:-1].exp() * (log_p[:-1] - log_p[1:])).sum((0, 2))
    return F.nll_loss(log_p[0], y) + beta * divergence.mean()
