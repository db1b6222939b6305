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


@dataclass(frozen=True)
class CrossEntropyWithError(LoggedCrossEntropy):
    """A cross-entropy that logs the column ``train_error``: the error of its own forward pass, the last one of an update."""

    def __call__(self) -> Tensor:
        """Return the mean over the batch, 0-dim, in nats; log the percentage of the batch that is misclassified."""
        logits = self.model(self.x)
        self.logged["train_error"] = 100.0 * (logits.detach().argmax(1) != self.y).float().mean()
        return F.cross_entropy(logits, self.y)
