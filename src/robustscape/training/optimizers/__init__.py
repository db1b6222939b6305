"""Optimizers, one file each: ``def NAME(parameters, *, ...) -> torch.optim.Optimizer`` whose ``step`` takes the closure.

Three attributes are optional: ``statistics_pass``, the number of the closure's call that updates BatchNorm's running statistics
(0 without it); ``is_within_inner_loop``, true before a step whose passes are not at the weights that an epoch leaves, so that
what the method logs there does not count; and ``finish_epoch``, see ``EpochFinisher``.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class EpochFinisher(Protocol):
    """An optimizer that is told when an epoch ends, because its updates span several batches."""

    def finish_epoch(self) -> dict[str, float]:
        """Put the weights that are to be evaluated and saved into the parameters; return columns of the epoch's history row."""
        ...
