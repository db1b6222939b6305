"""RMSProp (Hinton et al. 2012; PyTorch's own): v <- a v + (1 - a) g^2; w <- w - lr g / (sqrt(v) + eps). One closure call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field


def rmsprop(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)] = 1e-2,
    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    eps: Annotated[float, Field(gt=0)] = 1e-8,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    centered: bool = False,
) -> torch.optim.Optimizer:
    """Return RMSProp over ``parameters``.

    Args:
        parameters: the weights.
        lr: learning rate.
        alpha: decay a of the mean of the squared gradients.
        eps: added to the denominator, for numerical stability; no perturbation budget.
        weight_decay: coupled L2 penalty.
        momentum: of the steps.
        centered: divide by an estimate of the gradients' variance instead of their mean square.
    """
    return torch.optim.RMSprop(
        parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
    )
