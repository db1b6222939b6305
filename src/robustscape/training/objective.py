"""The objective most methods end with: mean cross-entropy of fixed inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of inputs (B, ...) with labels (B,) at the model's current weights; see ``closure.Objective``."""

    model: nn.Module
    x: Tensor
    y: Tensor

    def __call__(self) -> Tensor:
        """The mean over the batch."""
        return F.cross_entropy(self.model(self.x), self.y)

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """The losses of the samples ``index``, all by default, (n,)."""
        x, y = (self.x, self.y) if index is None else (self.x[index], self.y[index])
        return F.cross_entropy(self.model(x), y, reduction="none")
