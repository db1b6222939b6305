"""Optimizers, one file each: ``def NAME(parameters, *, ...) -> torch.optim.Optimizer`` whose ``step`` takes the closure.

An optimizer may also be any of the protocols below; the loop and the closure ask by ``isinstance``.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class StatisticsChooser(Protocol):
    """An optimizer whose first pass is not the one that BatchNorm's running statistics should see."""

    statistics_pass: int
    """Number of the closure's call that updates them, counted from 0."""


@runtime_checkable
class EpochFinisher(Protocol):
    """An optimizer that is told when an epoch ends, because its updates span several batches."""

    def finish_epoch(self) -> dict[str, float]:
        """Put the weights that are to be evaluated and saved into the parameters; return columns of the epoch's history row."""
        ...


@runtime_checkable
class InnerLooper(Protocol):
    """An optimizer that makes some of its passes at weights which no epoch leaves."""

    is_within_inner_loop: bool
    """True before a step whose passes are at such weights: what the method logs there does not count."""
