"""What every measurement of a landscape has in common, under the names that its modules use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor

from robustscape.runs import TrainedRun, columns

__all__ = ["columns", "radius", "rows", "subset"]


def radius(run: TrainedRun, eps: float | Literal["run"]) -> float:
    """See ``TrainedRun.radius``."""
    return run.radius(eps)


def subset(run: TrainedRun, split: Literal["train", "test"], samples: int | None) -> tuple[Tensor, Tensor]:
    """See ``TrainedRun.subset``."""
    return run.subset(split, samples)


def rows(shared: dict[str, Any], entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every entry with the shared columns before its own."""
    return [{**shared, **entry} for entry in entries]
