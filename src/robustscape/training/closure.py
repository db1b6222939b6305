"""The closure: a function that an optimizer calls for the loss and gradients of a batch, as often as it needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustscape.errors import UserError
from robustscape.models.batchnorm import frozen_statistics, tracking_norms
from robustscape.training.optimizers import StatisticsChooser


class Objective(Protocol):
    """The return value of a method: a function of no arguments, the batch's mean loss at the current weights (0-dim).

    The attacked inputs are fixed. An objective may also be a ``PerSampleObjective`` or a ``LoggedObjective``.
    """

    def __call__(self) -> Tensor: ...


@runtime_checkable
class PerSampleObjective(Protocol):
    """An objective that also offers the loss of each sample, for optimizers that select samples (ESAM)."""

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index`` of the batch, all by default, at the current weights."""
        ...


@runtime_checkable
class LoggedObjective(Protocol):
    """An objective with numbers that are averaged over the epoch into columns of history.csv."""

    logged: Mapping[str, Tensor]
    """Column -> mean over the batch, 0-dim."""


class Closure:
    """The batch as an optimizer sees it: same samples, same attacked inputs, same random numbers (dropout) in every call.

    BatchNorm, and InstanceNorm that tracks, updates its running statistics in one call of a step only, number
    ``statistics_pass`` of the optimizer (0 unless it says otherwise): passes at perturbed weights would spoil them (kim2023
    chapter 4, section 1).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._norms = tracking_norms(model)
        self._optimizer: torch.optim.Optimizer
        self._objective: Objective
        self._calls = 0
        self._statistics_pass = 0
        self._generator_states: list[Tensor] = []

    def begin(self, optimizer: torch.optim.Optimizer, objective: Objective) -> Callable[[], Tensor]:
        """Start a new batch; return the closure for the optimizer's ``step``."""
        self._optimizer, self._objective, self._calls = optimizer, objective, 0
        self._statistics_pass = optimizer.statistics_pass if isinstance(optimizer, StatisticsChooser) else 0
        # Of every net: whether one calls F.dropout cannot be seen from outside.
        self._generator_states = _generator_states()
        return self

    def __call__(self) -> Tensor:
        """Put the gradients into the parameters and return the loss (0-dim)."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._pass():
            loss = self._objective()
        loss.backward()
        return loss

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index`` of the batch, all by default, at the current weights; no ``backward``.

        It counts as a call of the step, like ``__call__``.

        Raises:
            UserError: the method gives no loss per sample.
        """
        if not isinstance(self._objective, PerSampleObjective):
            raise UserError("this optimizer selects samples, and the recipe's method gives no loss per sample.")
        with self._pass():
            return self._objective.per_sample(index)

    @contextmanager
    def _pass(self) -> Iterator[None]:
        """One call of the step: the dropout of the first call, running statistics only in the wanted one."""
        updates_statistics = self._calls == self._statistics_pass
        if self._calls:
            torch.set_rng_state(self._generator_states[0])
            if len(self._generator_states) > 1:
                torch.cuda.set_rng_state_all(self._generator_states[1:])
        self._calls += 1
        with nullcontext() if updates_statistics else frozen_statistics(self._norms):
            yield


def _generator_states() -> list[Tensor]:
    """The state of the CPU's generator and of those of the GPUs that are in use."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
