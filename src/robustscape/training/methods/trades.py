"""TRADES (Zhang et al. 2019): a trade-off between accuracy on clean inputs and predictions that change little around them.

    min_w mean_n CE(f(x_n), y_n) + beta mean_n KL( p(x_n) || p(x'_n) )

x' is the recipe's attack, ``kl_pgd`` in the work itself, run in the mode its entry names (eval). In the loss both p(x) and
p(x') carry gradients. kanai2022 appendix F.2 (beta 6), kim2023 eq 3.8. Clean and attacked inputs pass the net one after the
other, each with batch statistics of its own, as in the authors' code, which makes the clean pass twice, once for each term: the
loss is the same, the running statistics see one clean pass more there. Cost with k steps: 1 forward and k forward and
input-backward passes for x', 2 forward and 2 backward (2k + 7 forward-equivalents).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.kl_pgd import kl_divergence
from robustscape.training.attack import TrainingAttack


def trades(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    beta: Annotated[float, Field(ge=0)] = 6.0,
) -> Callable[[], Tensor]:
    """Return the loss above as an objective; the attack runs once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack, which finds x'.
        beta: weight of the divergence.
    """
    x_adv = attack(model, x, y)

    def loss() -> Tensor:
        clean = model(x)
        return F.cross_entropy(clean, y) + beta * kl_divergence(model(x_adv), clean).mean()

    return loss
