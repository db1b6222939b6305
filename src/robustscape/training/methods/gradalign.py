"""GradAlign: single-step adversarial training with input gradients aligned inside the ball.

Andriushchenko & Flammarion (2020), equation 5; kim2023 section 2.2.

    mean_n loss( f(x_n + delta_n), y_n ) + beta ( 1 - mean_n cos( grad_x loss(x_n), grad_x loss(x_n + eta_n) ) )

with eta ~ U(-eps, eps)^d. The first term's delta is the recipe's attack (FGSM from the clean input in the original). Samples
with a zero gradient do not count in the mean. Both input gradients keep their graph: backpropagating through them is a second
derivative, so the model's layers must be twice differentiable (no half precision). Cost: with FGSM 1 forward and
input-backward pass, 1 forward and backward, and 2 forward and input-backward passes that are backpropagated through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.scaling import magnitude
from robustscape.training.attack import TrainingAttack


def gradalign(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    beta: Annotated[float, Field(ge=0)] = 0.2,
) -> Callable[[], Tensor]:
    """Return the loss above as an objective; the attack runs once, and eta is drawn once.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack, and the ball that eta is drawn from.
        beta: weight of the regulariser.
    """
    x_adv = attack(model, x, y)
    eta = attack.threat.random_point(x, attack.generator.fork(0))
    return lambda: F.cross_entropy(model(x_adv), y) + beta * (1 - alignment(model, x, eta, y))


def alignment(model: nn.Module, x: Tensor, other: Tensor, y: Tensor) -> Tensor:
    """Return the mean cosine of the loss's gradients at ``x`` and ``other`` (B, ...), differentiable, 0-dim; 0 if none counts."""
    gradients = (_input_gradient(model, point, y) for point in (x, other))
    first, second = (
        g / magnitude(g) for g in gradients
    )  # the cosine is the same, and products of norms do not underflow
    lengths = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    counts = lengths > 0
    cosines = (first * second).sum(1) / torch.where(counts, lengths, 1.0)
    return torch.where(counts, cosines, 0.0).sum() / counts.sum().clamp_min(1)


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of each sample's loss, flat (B, d), with its graph. Losses are summed, so batch size does not scale it."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    return gradient.flatten(1)
