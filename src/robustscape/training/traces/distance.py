"""Distance of the weights from where training began (liu2020 section 3, figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from robustscape.training.recorder import TraceContext


def distance(context: TraceContext) -> Tensor:
    """Return ||w_t - w_0||_2 over all parameters, 0-dim; buffers of BatchNorm do not count."""
    moved = [p.detach() - context.initial[name] for name, p in context.model.named_parameters()]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(moved)))
