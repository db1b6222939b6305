"""Training error of an update's batch, attacked as it was trained on (liu2020 section 3, figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from robustscape.training.recorder import TraceContext


def error(context: TraceContext) -> Tensor:
    """Return the percentage of the attacked batch misclassified in the update's own forward pass, 0-dim."""
    return 100 * (context.logits.argmax(1) != context.y).float().mean()
