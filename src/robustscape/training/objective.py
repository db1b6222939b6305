"""Objectives that methods return; see ``closure.Objective``. Any function of no arguments will do as well."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of fixed inputs (B, ...) with labels (B,) at the model's current weights.

    Args:
        model: the net.
        x: inputs, attacked or not.
        y: labels.
    """

    model: nn.Module
    x: Tensor
    y: Tensor

    def __call__(self) -> Tensor:
        """Return the mean over the batch, 0-dim, in nats."""
        return F.cross_entropy(self.model(self.x), self.y)

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index``, all by default."""
        x, y = (self.x, self.y) if index is None else (self.x[index], self.y[index])
        return F.cross_entropy(self.model(x), y, reduction="none")


@dataclass(frozen=True)
class LoggedCrossEntropy(CrossEntropy):
    """A cross-entropy with numbers for history.csv: ``logged`` maps a column to the batch's mean (0-dim)."""

    logged: dict[str, Tensor]
