"""Adversarial weight perturbation (Wu, Xia & Wang 2020), kanai2022 section 2.3: descend where the loss nearby is highest.

    min_theta max_v (1/N) sum_n max_delta l(x_n + delta, y_n, theta + v),       ||v_l|| <= gamma ||theta_l|| for every layer

Per batch, with the inputs attacked at theta: one ascent step makes v: along the gradient, as long as the bound allows, in
every weight tensor of at least two dimensions (biases and BatchNorm do not move); SGD takes its step at theta + v,
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
    """Return SGD whose gradient is taken at adversarially perturbed weights; 2 passes per step.

    Args:
        parameters: the weights.
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
        """Make one update; return the loss at theta, before the perturbation."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        loss, moved = gradient_at_worst_weights(closure, parameters, self.gamma)
        for weight, v in moved:
            weight.add_(v)
        perturb.sgd_update(self)
        for weight, v in moved:
            weight.sub_(v)
        return loss


@torch.no_grad()
def gradient_at_worst_weights(
    closure: perturb.Closure, parameters: Iterable[Tensor], gamma: float
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Leave the gradient at theta + v in ``.grad``; return the loss at theta, and (theta_l, v_l) of every layer.

    The weights are at theta again afterwards, bit for bit.

    Args:
        closure: one forward and backward pass of the batch; called twice.
        parameters: theta.
        gamma: ||v_l|| / ||theta_l||.
    """
    loss = perturb.forward_backward(closure)
    moved = [
        (p, p.grad * (gamma * p.norm() / (p.grad.norm() + 1e-20)))
        for p in parameters
        if p.grad is not None and p.dim() >= 2
    ]
    weights = [weight for weight, _ in moved]
    with perturb.restored_afterwards(weights):
        perturb.exchange(weights, [weight.clone().add_(v) for weight, v in moved])
        perturb.forward_backward(closure)
    return loss, moved
