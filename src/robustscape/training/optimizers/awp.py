"""Adversarial weight perturbation (Wu, Xia & Wang 2020), kanai2022 section 2.3: descend where the loss is worst nearby.

    min_theta max_v (1/N) sum_n max_delta l(x_n + delta, y_n, theta + v),       ||v_l|| <= gamma ||theta_l|| for every layer

Per batch, with the inputs attacked at theta: one ascent step makes v, of the bound's length along the gradient of every
weight tensor of at least two dimensions (biases and batch normalisation do not move); SGD takes its step at theta + v,
where momentum and weight decay see theta + v too; the same v is taken away again, by subtraction, which rounds. Cost: two
closure calls. Batch statistics are updated by the second.

The authors' code moves a copy by SGD and normalises the difference; its learning rate cancels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


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

    def __init__(self, params: Any, lr: float = 1e-3, *, gamma: float = 0.01, **settings: Any) -> None:
        super().__init__(params, lr, **settings)
        self.gamma = gamma

    @torch.no_grad()
    def step(self, closure: perturb.Closure) -> Tensor:  # type: ignore[override]
        """One update; the loss at theta, before the perturbation."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        loss, moved = gradient_at_worst_weights(closure, parameters, self.gamma)
        for weight, v in moved:
            weight.add_(v)
        perturb.descend(self)
        for weight, v in moved:
            weight.sub_(v)
        return loss


@torch.no_grad()
def gradient_at_worst_weights(
    closure: perturb.Closure, parameters: Iterable[Tensor], gamma: float
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Leave the gradient at theta + v in ``.grad`` and the weights at theta, bit for bit; the loss there, and (theta_l, v_l)."""
    loss = perturb.run(closure)
    moved = [
        (p, p.grad * (gamma * p.norm() / (p.grad.norm() + 1e-20)))
        for p in parameters
        if p.grad is not None and p.dim() >= 2
    ]
    with perturb.elsewhere([weight for weight, _ in moved]):
        for weight, v in moved:
            weight.data = weight.clone().add_(v)
        perturb.run(closure)
    return loss, moved
