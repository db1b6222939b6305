"""AdamW (Loshchilov & Hutter 2019; PyTorch's own) with a bound on the norm of all gradients together (ma2025 appendix 6.A).

One closure call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor


def clipped_adamw(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)] = 1e-3,
    weight_decay: Annotated[float, Field(ge=0)] = 0.05,
    max_norm: Annotated[float, Field(gt=0)] = 1.0,
) -> torch.optim.Optimizer:
    """Return AdamW over ``parameters`` with clipped gradients.

    Args:
        parameters: the weights.
        lr: learning rate.
        weight_decay: decoupled decay.
        max_norm: largest norm of the gradient.
    """
    return ClippedAdamW(parameters, lr=lr, weight_decay=weight_decay, max_norm=max_norm)


class ClippedAdamW(torch.optim.AdamW):
    """AdamW whose gradient is scaled down to the norm ``max_norm`` where it is longer."""

    def __init__(self, parameters: Any, *, max_norm: float, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self._max_norm = max_norm

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Make one update; return the loss of the closure."""
        with torch.enable_grad():
            loss = closure()
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], self._max_norm)
        super().step()
        return loss
