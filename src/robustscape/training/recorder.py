"""Traces: what is recorded at single updates, kept on the device until the epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.recipes import Recipe
from robustscape.errors import UserError


@dataclass(frozen=True)
class TraceContext:
    """The argument of a trace: the state after an update.

    The parameters' ``grad`` are those of the update's last backward pass, without weight decay.
    """

    model: nn.Module
    initial: Mapping[str, Tensor]
    """Parameters by name, before the first update."""
    logits: Tensor
    """Outputs of the update's last forward pass with gradients, (B, C)."""
    x: Tensor
    """Clean inputs of the batch, augmented, (B, ...)."""
    y: Tensor
    """Their labels, (B,)."""
    loss: Tensor
    """The update's loss, 0-dim."""


class Recorder:
    """Calls the recipe's traces at the updates that the recipe wants recorded.

    Args:
        recipe: names the traces, and the updates.
        model: the net that is trained.
        initial: its parameters by name, before the first update.
        updates: number of updates of the whole training.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, initial: Mapping[str, Tensor], updates: int) -> None:
        self._traces: dict[str, Callable[[TraceContext], Tensor]] = {
            column: partial(catalog.load_function("trace", trace.name), **trace.parameters)
            for column, trace in recipe.traces.items()
        }
        self._model, self._initial = model, initial
        self._first = updates if recipe.traced_updates.first is None else recipe.traced_updates.first
        self._last = updates - recipe.traced_updates.last
        self._logits: Tensor | None = None
        self._pending: list[tuple[int, Tensor]] = []

    def wants(self, update: int) -> bool:
        """Return whether an update, counted from 0, is recorded."""
        return bool(self._traces) and (update < self._first or update >= self._last)

    def watch(self) -> torch.utils.hooks.RemovableHandle:
        """Keep the outputs of forward passes with gradients, until the handle is removed."""

        def keep_logits(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
            if module.training and outputs.requires_grad:
                self._logits = outputs.detach()

        return self._model.register_forward_hook(keep_logits)

    def record(self, update: int, x: Tensor, y: Tensor, loss: Tensor) -> None:
        """Call the traces after an update.

        Raises:
            UserError: the update made no forward pass with gradients.
        """
        if self._logits is None:
            raise UserError("the recipe has traces, but its method makes no forward pass with gradients.")
        context = TraceContext(self._model, self._initial, self._logits, x, y, loss)
        with torch.no_grad():
            values = torch.stack([trace(context).float() for trace in self._traces.values()])
        self._pending.append((update, values))

    def rows(self, epoch: int) -> list[dict[str, Any]]:
        """Return the rows recorded since the last call; the one point where traces wait for the device."""
        if not self._pending:
            return []
        values = torch.stack([values for _, values in self._pending]).tolist()
        rows = [
            {"update": update + 1, "epoch": epoch, **dict(zip(self._traces, numbers, strict=True))}
            for (update, _), numbers in zip(self._pending, values, strict=True)
        ]
        self._pending.clear()
        return rows
