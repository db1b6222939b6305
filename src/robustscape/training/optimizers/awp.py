"""Adversarial weight perturbation (Wu, Xia & Wang 2020), kanai2022 section 2.3: descend where the loss is worst nearby.

    min_theta max_v (1/N) sum_n max_delta l(x_n + delta, y_n, theta + v),       ||v_l|| <= gamma ||theta_l|| for every layer

Per batch, with the inputs attacked at theta: one ascent step makes v, of the bound's length along the gradient of every
weight tensor of at least two dimensions (biases and batch normalisation do not move); SGD takes its step at theta + v,
where momentum and weight decay see theta + v too; the same v is taken away again. Cost: two closure calls. Batch
statistics are updated by the second.

The authors' code moves a copy by SGD and normalises the difference; its learning rate cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor


def awp(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    gamma: Annotated[float, Field(ge=0)] = 0.01,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """SGD at adversarially perturbed weights.

    Args:
        parameters: what is trained.
        lr: learning rate of SGD.
        gamma: length of the perturbation of a layer, relative to the layer's norm.
        momentum: of SGD.
        weight_decay: the coupled L2 penalty of SGD.
    """
    return AWP(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, gamma=gamma)


class AWP(torch.optim.SGD):
    """See ``awp``; its state is SGD's."""

    statistics_pass = 1

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, gamma: float, **settings: float) -> None:
        super().__init__(parameters, **settings)  # type: ignore[arg-type]
        self.gamma = gamma

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """One update; the loss at theta, before the perturbation."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        loss = closure()
        moves = perturb(parameters, self.gamma)
        closure()
        super().step()
        restore(parameters, moves)
        return loss


@torch.no_grad()
def perturb(parameters: Sequence[Tensor], gamma: float) -> list[Tensor | None]:
    """Move every weight tensor by gamma ||w|| g / ||g|| along its gradient; the moves, None where there is none."""
    moves: list[Tensor | None] = []
    for p in parameters:
        move = None
        if p.grad is not None and p.dim() >= 2:
            move = p.grad * (gamma * p.norm() / (p.grad.norm() + 1e-20))
            p.add_(move)
        moves.append(move)
    return moves


@torch.no_grad()
def restore(parameters: Sequence[Tensor], moves: Sequence[Tensor | None]) -> None:
    """Take the moves away again."""
    for p, move in zip(parameters, moves, strict=True):
        if move is not None:
            p.sub_(move)


def gradient_at_worst_weights(closure: Callable[[], Tensor], parameters: Sequence[Tensor], *, gamma: float) -> Tensor:
    """Leave the gradient at theta + v in ``.grad`` and the weights at theta, bit for bit; the loss at theta."""
    loss = closure()
    kept = [p.detach().clone() for p in parameters]
    perturb(parameters, gamma)
    closure()
    with torch.no_grad():
        for p, before in zip(parameters, kept, strict=True):
            p.copy_(before)
    return loss
