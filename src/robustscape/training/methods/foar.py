"""FOAR: first-order adversarial regularisation (ma2025 equation 3.4, section 3.4).

    mean_n [ CE(f(x'_n), y_n) + eps ||grad_x CE(f(x'_n), y_n)||_q ],      1/p + 1/q = 1

the maximum of the first-order expansion over the ball of norm p: q = 1 for Linf, q = 2 for L2. x' begins at x, at a random
point, or one step of PGD away, half of eps for it and half for the regulariser. Gradients are those of each sample's own loss,
and are backpropagated through. Cost: 1 forward, 2 backward (table 3.5); with PGD1 1 forward and 1 input-backward more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import ConfigError
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods._start import start_point

#: Added to the sum of squares below a root, so that the gradient of the root is finite at 0.
ROOT_FLOOR = 1e-12


def foar(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    init: Literal["zero", "random", "pgd1"] = "pgd1",
) -> FoarObjective:
    """Return the loss above as an objective; x' is found once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: its ball and random streams; it is not called.
        init: where x' begins: at x, at a random point of the ball, or one step of PGD away in half the ball.
    """
    point, ball = start_point(model, x, y, attack, init)
    return FoarObjective(model, point, y, ball)


@dataclass(frozen=True)
class FoarObjective:
    """The loss of FOAR at the model's current weights, at fixed points; ``logged``: ``regulariser``, its mean.

    Args:
        model: the net.
        x: x' (B, ...), detached.
        y: labels (B,).
        ball: whose first-order maximum the regulariser is.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    ball: ThreatModel
    logged: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self) -> Tensor:
        """Return the mean over the batch, 0-dim, in nats."""
        return self.per_sample().mean()

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index``, all by default; logs the regulariser of these samples."""
        x, y = (self.x, self.y) if index is None else (self.x[index], self.y[index])
        x = x.detach().requires_grad_()
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
        r = float(self.ball.eps) * dual_norm(gradient, self.ball.norm)
        self.logged["regulariser"] = r.detach().mean()
        return losses + r


def dual_norm(gradient: Tensor, norm: str) -> Tensor:
    """Return the dual norm (B,) of gradients (B, ...): max <g, delta> over the unit ball of ``norm``, Linf or L2.

    Raises:
        ConfigError: another norm.
    """
    flat = gradient.flatten(1)
    if norm == "Linf":
        return flat.abs().sum(1)
    if norm == "L2":
        return (flat.square().sum(1) + ROOT_FLOOR).sqrt()
    raise ConfigError(f"method 'foar' is defined in Linf and L2, and the recipe's attack is in {norm}.")
