"""The method and the optimizer of the epoch being trained; the phases of a recipe exchange them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from robustscape import catalog
from robustscape.config.recipes import InForce, Recipe


class Phases:
    """The ``method`` (a function of model, x, y and attack that returns an objective) and the ``optimizer`` in force.

    Args:
        recipe: names both, and the phases that change them.
        parameters: the weights that are trained.
        epoch: the epoch in whose phase to start, counted from 0.
    """

    method: Callable[..., Any]
    optimizer: torch.optim.Optimizer

    def __init__(self, recipe: Recipe, parameters: list[nn.Parameter], epoch: int) -> None:
        self._recipe, self._parameters = recipe, parameters
        self._in_force = recipe.in_force(epoch)
        self._start_method(self._in_force)
        self._start_optimizer(self._in_force)

    def enter(self, epoch: int) -> None:
        """Change method and optimizer if ``epoch``, counted from 0, belongs to another phase than the epoch before it."""
        before, now = self._in_force, self._recipe.in_force(epoch)
        if now.phase == before.phase:
            return
        self._in_force = now
        self._start_method(now)
        if now.optimizer is not before.optimizer:
            state = self.optimizer.state_dict()["state"]
            self._start_optimizer(now)
            if now.keep_state:  # the momentum goes on; the hyper-parameters are the new optimizer's
                self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def set_learning_rate(self, factor: float) -> None:
        """Give every parameter group ``factor`` times the learning rate that the recipe states."""
        for group, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor

    def learning_rate(self, factor: float) -> float:
        """The learning rate of the first parameter group at ``factor``."""
        rate: float = self._base_rates[0] * factor
        return rate

    def _start_method(self, now: InForce) -> None:
        self.method = partial(catalog.load_function("method", now.method), **now.parameters)

    def _start_optimizer(self, now: InForce) -> None:
        self.optimizer = catalog.load_function("optimizer", now.optimizer.name)(
            self._parameters, **now.optimizer.parameters
        )
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
