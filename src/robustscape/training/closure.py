"""What an optimizer calls to get the loss and gradients of a batch, as often as it needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from robustscape.errors import UserError


class Objective(Protocol):
    """What a method returns: the batch's mean loss at the current weights, the attacked inputs being fixed.

    It may also offer ``per_sample(index)``, the losses one by one, and ``logged``, what is averaged into history.csv.
    """

    def __call__(self) -> Tensor: ...


class Closure:
    """The batch as an optimizer sees it: same samples, same attacked inputs, same dropout in every call.

    The running statistics of BatchNorm are those of one call of a step, number ``statistics_pass`` of the optimizer (0 unless
    it says otherwise): passes at perturbed weights would spoil them (kim2023 chapter 4, section 1).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._random = any(isinstance(m, _DropoutNd) for m in model.modules())
        self._optimizer: torch.optim.Optimizer
        self._objective: Objective
        self._calls = 0
        self._generator_states: list[Tensor] = []

    def begin(self, optimizer: torch.optim.Optimizer, objective: Objective) -> Callable[[], Tensor]:
        """Take up a new batch."""
        self._optimizer, self._objective, self._calls = optimizer, objective, 0
        self._generator_states = _generator_states() if self._random else []
        return self

    def __call__(self) -> Tensor:
        """Gradients into the parameters, the loss back."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._pass():
            loss = self._objective()
        loss.backward()
        return loss

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Losses (n,) of the samples ``index`` of the batch, all by default, at the current weights; a call like any other.

        Raises:
            UserError: the method gives no losses one by one.
        """
        losses: Callable[[Tensor | None], Tensor] | None = getattr(self._objective, "per_sample", None)
        if losses is None:
            raise UserError("this optimizer selects samples, and the recipe's method gives no losses sample by sample.")
        with self._pass():
            return losses(index)

    @contextmanager
    def _pass(self) -> Iterator[None]:
        """One call of the step: the dropout of the first, statistics only in the wanted one."""
        wanted = self._calls == getattr(self._optimizer, "statistics_pass", 0)
        if self._calls and self._generator_states:
            torch.set_rng_state(self._generator_states[0])
            if len(self._generator_states) > 1:
                torch.cuda.set_rng_state_all(self._generator_states[1:])
        self._calls += 1
        with nullcontext() if wanted else self._frozen_statistics():
            yield

    @contextmanager
    def _frozen_statistics(self) -> Iterator[None]:
        for norm in self._norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in self._norms:
                norm.track_running_stats = True


def _generator_states() -> list[Tensor]:
    """Of the CPU's generator and those of the GPUs that are in use."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
