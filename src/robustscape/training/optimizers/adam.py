"""Adam (Kingma & Ba 2015; PyTorch's own). One closure call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field


def adam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)] = 1e-3,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    eps: Annotated[float, Field(gt=0)] = 1e-8,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return Adam over ``parameters``.

    Args:
        parameters: the weights.
        lr: learning rate.
        beta1: decay of the mean of the gradients.
        beta2: decay of the mean of their squares.
        eps: added to the denominator, for numerical stability; no perturbation budget.
        weight_decay: coupled L2 penalty.
    """
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
