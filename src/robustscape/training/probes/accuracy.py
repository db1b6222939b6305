"""Accuracy after an epoch, clean or under an attack at the run's own eps (100 = all samples right)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.accuracy import accuracy_under_attack

if TYPE_CHECKING:
    from robustscape.training.loop import ProbeContext


def accuracy(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "test",
    attack: AttackSpec | None = None,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Percent of the first ``samples`` of ``split`` classified correctly; under ``attack``, if one is named.

    The attack's random streams are the run's seed and the samples' numbers, the same after every epoch, so that two epochs
    differ by their weights only.
    """
    x, y = context.subset(split, samples)
    return accuracy_under_attack(context.model, x, y, attack, context.eps, context.seed)
