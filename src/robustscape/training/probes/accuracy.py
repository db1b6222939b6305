"""Accuracy after an epoch in percent, clean or under an attack at the run's own eps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.accuracy import accuracy_under_attack

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def accuracy(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "test",
    attack: AttackSpec | None = None,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Return the percentage of samples classified correctly; robust accuracy if there is an attack.

    The attack's random streams are the run's seed and the samples' numbers, the same after every epoch, so that two epochs
    differ by their weights only.

    Args:
        context: the model after an epoch, and the data.
        split: which split.
        attack: at the run's own eps; None: clean inputs.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    return accuracy_under_attack(context.model, x, y, attack, context.eps, context.seed)
