"""Adaptive SAM: the perturbation is measured relative to the size of each weight.

Kwon et al. (2021), equations 8 and 9; a baseline of kim2023 table 5.2. With T = diag(|w| + eta),

    w^p = w + rho T^2 g(w) / |T g(w)|,   w <- SGD step from w with the gradient g(w^p)

T acts on every weight, biases included, as the equations say. (The authors' code, and that of the thesis' author, have T = 1 for
tensors without "weight" in their name: biases are perturbed there, but not in units of their size.)

Cost: 2 forward and backward passes; one more set of weights in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


class ASAM(perturb.PerturbedSGD):
    """PyTorch's SGD with the gradient at adaptively perturbed weights."""

    def gradient(self, closure: perturb.Closure, *, rho: float = 0.5, eta: float = 0.01) -> Tensor:
        """Leave the gradient at w^p in ``.grad``; return the loss at w."""
        loss = perturb.forward_backward(closure)
        weights = perturb.weights_with_gradients(self)
        with perturb.restored_afterwards(weights):
            gradients = perturb.take_gradients(weights)
            if weights:
                sizes = torch._foreach_abs(weights)
                torch._foreach_add_(sizes, eta)
                scaled = torch._foreach_mul(gradients, sizes)
                offsets = torch._foreach_mul(scaled, rho / (perturb.total_norm(scaled) + 1e-12))
                torch._foreach_mul_(offsets, sizes)
                perturb.displace(weights, offsets)
            perturb.forward_backward(closure)
        return loss


def asam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.5,
    eta: Annotated[float, Field(ge=0)] = 0.01,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return adaptive SAM, whose ascent is in units of |w| + eta; 2 passes per step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: length of the perturbation, relative to the weights.
        eta: added to |w|.
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return ASAM(parameters, lr, rho=rho, eta=eta, momentum=momentum, weight_decay=weight_decay)
