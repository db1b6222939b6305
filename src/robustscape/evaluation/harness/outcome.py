"""The outcome of one attack of a suite."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustscape.config.attacks import AttackSpec


@dataclass(frozen=True)
class Outcome:
    """The samples that one attack of a suite has attempted and broken, and its cost."""

    name: str
    spec: AttackSpec | None
    """None: the clean inputs, which open every suite."""
    attempted: Tensor
    """The samples it ran on, bool (N,): those that no attack before it has broken."""
    broken: Tensor
    """The samples it has broken, bool (N,)."""
    seconds: float
    forwards: int
    """Samples passed forward; a sample counts each time."""
    backwards: int
    """Samples passed backward to the input; 0: the attack is gradient-free."""
