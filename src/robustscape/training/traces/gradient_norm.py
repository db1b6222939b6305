"""Norm of the stochastic gradient of an update over all parameters, weight decay aside (liu2020 section 3, figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from robustscape.training.recorder import TraceContext


def gradient_norm(context: TraceContext) -> Tensor:
    """Return ||grad_w of the mean loss||_2, 0-dim, as in the update (inputs attacked, BatchNorm in training mode)."""
    gradients = [p.grad for p in context.model.parameters() if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
