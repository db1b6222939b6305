"""Norm of an update's gradient relative to its loss (kim2023 equation 3.24): ||grad_w L||_2 / |L|."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from robustscape.training.recorder import TraceContext


def normalised_gradient_norm(context: TraceContext) -> Tensor:
    """Return the norm of the gradient of log L, 0-dim: comparable between methods whose losses differ in size."""
    gradients = [p.grad for p in context.model.parameters() if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) / context.loss.abs()
