"""Mean cross-entropy after an epoch, clean or under an attack at the run's own eps, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape.surface import losses_and_correctness

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def loss(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "test",
    attack: AttackSpec | None = None,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Return the mean loss in eval mode; that of attacked inputs if there is an attack.

    The attack's random streams are those of the probe ``accuracy``, so both are measured on the same attacked inputs.

    Args:
        context: the model after an epoch, and the data.
        split: which split.
        attack: at the run's own eps; None: clean inputs.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    if attack is not None and context.eps > 0:
        x = craft(context.model, x, y, attack, context.eps, seed=context.seed)
    return losses_and_correctness(context.model, x, y)[0].double().mean().item()
