"""Surrogate-gap SAM: SAM's gradient, less the part of the plain gradient that is orthogonal to it.

Zhuang et al. (2022), algorithm 1; a baseline of kim2023 table 5.2. With w^p = w + rho g / |g|, g = g(w), g_p = g(w^p),

    g_o = g - (<g, g_p> / |g_p|^2) g_p,   w <- SGD step from w with the gradient g_p - alpha g_o

rho is constant, for which the authors' code (github.com/juntang-zhuang/GSAM) has a schedule; its example for CIFAR sets it
to stay at 2.0, in units of the weights (adaptive), with alpha = 0.2.

Cost: 2 forward and backward passes; one more set of weights and one of gradients in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


class GSAM(perturb.PerturbedSGD):
    """PyTorch's SGD with the surrogate gap's gradient."""

    def gradient(self, closure: perturb.Closure, *, rho: float = 0.05, alpha: float = 0.1) -> Tensor:
        """Leave g_p - alpha g_o in ``.grad``; return the loss at w."""
        loss = perturb.forward_backward(closure)
        weights = perturb.weights_with_gradients(self)
        plain = perturb.take_gradients(weights)
        with perturb.restored_afterwards(weights):
            perturb.displace(weights, perturb.ascent_offsets(plain, rho, "normalised"))
            perturb.forward_backward(closure)
        if weights:
            perturbed = perturb.take_gradients(weights)
            square = perturb.inner_product(perturbed, perturbed)
            # If the perturbed gradient is 0, nothing is parallel to it.
            along = perturb.inner_product(plain, perturbed) / square.clamp_min(torch.finfo(square.dtype).tiny)
            orthogonal = torch._foreach_sub(plain, torch._foreach_mul(perturbed, along))
            torch._foreach_sub_(perturbed, orthogonal, alpha=alpha)
            perturb.put_gradients(weights, perturbed)
        return loss


def gsam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    alpha: Annotated[float, Field(ge=0)] = 0.1,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return surrogate-gap SAM: SAM's gradient less alpha times the part of g(w) that is orthogonal to it; 2 passes per step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: length of the perturbation.
        alpha: weight of the orthogonal part.
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return GSAM(parameters, lr, rho=rho, alpha=alpha, momentum=momentum, weight_decay=weight_decay)
