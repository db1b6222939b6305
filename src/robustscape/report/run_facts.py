"""What the page says of a trained run: whether it is trained, and what it cost. Filled in by the step that writes the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunFacts:
    """A run, its health and its cost.

    Args:
        key: its folder below ``models/``.
        dataset: what it was trained on, stand-ins included.
        architecture: of the network, stand-ins included.
        recipe: that it was trained by.
        eps: of training, in input units.
        seed: of its random streams.
        clean: accuracy on clean test samples, percent; None where it is not known.
        robust: accuracy under the attack of the health check, percent; None for runs without one.
        loss: final loss as a share of that of a constant answer; None where it is not finite.
        updates: number of them.
        shortfalls: in what the run falls short of the scale's thresholds, in words; empty if it is trained.
        seconds: wall time of training.
        epoch_seconds: mean wall time of an epoch; None where it was not recorded.
        checkpoints: the first twelve digits of the hashes of its weights, by which rows name them.
        problem: what is wrong with its files; nothing above is known then but what names the run.
    """

    key: str
    dataset: str
    architecture: str
    recipe: str
    eps: float
    seed: int
    clean: float | None = None
    robust: float | None = None
    loss: float | None = None
    updates: int | None = None
    shortfalls: tuple[str, ...] = ()
    seconds: float | None = None
    epoch_seconds: float | None = None
    checkpoints: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_trained(self) -> bool:
        """True if its health is known and above the thresholds."""
        return not self.shortfalls and not self.problem


@dataclass(frozen=True)
class Origins:
    """Where the items of a page come from, as far as their own files do not say it.

    Args:
        runs: key -> facts of every run that was trained.
        behind: (work, item) -> keys of the runs behind it, trained or not.
        configured: (work, item) -> path of the file that configures it, seen from the project.
        code: (work, item) -> paths of the files that measured and drew it, seen from the project.
    """

    runs: Mapping[str, RunFacts] = field(default_factory=dict)
    behind: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    configured: Mapping[tuple[str, str], str] = field(default_factory=dict)
    code: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
