"""What one attack of a suite did to the samples it ran on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustscape.config.attacks import AttackSpec


@dataclass(frozen=True)
class Outcome:
    """What one attack of a suite did."""

    name: str
    spec: AttackSpec | None
    """None: the clean inputs, which open every suite."""
    attempted: Tensor
    """Samples it ran on, bool (N,): those standing before it."""
    broken: Tensor
    """Samples it broken, bool (N,)."""
    seconds: float
    forwards: int
    """Samples passed forward, each time counted."""
    backwards: int
    """Samples passed backward to the input."""
