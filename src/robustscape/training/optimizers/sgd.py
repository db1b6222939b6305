"""Stochastic gradient descent with momentum (PyTorch's own): v <- mu v + g + wd w; w <- w - lr v. One closure call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field


def sgd(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Return SGD over ``parameters``.

    Args:
        parameters: the weights.
        lr: learning rate.
        momentum: mu above.
        weight_decay: coupled L2 penalty, wd above.
        nesterov: Nesterov's momentum.
    """
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
