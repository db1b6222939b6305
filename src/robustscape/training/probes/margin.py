"""Mean probabilistic margin M(x) after an epoch, of clean inputs or under an attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field

from robustscape.attacks.base.gradients import predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.margins import probabilistic_margin

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def margin(
    context: ProbeContext,
    *,
    attack: AttackSpec | None = None,
    split: Literal["train", "test"] = "test",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Return the mean of p_y - max_{i != y} p_i, in [-1, 1] (kim2023 equation 3.16).

    Args:
        context: the model after an epoch, and the data.
        attack: at the run's own eps; None: clean inputs.
        split: which split.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    if attack is not None:
        x = craft(context.model, x, y, attack, context.eps, seed=context.seed)
    logits = torch.cat([predict(context.model, part) for part in x.split(512)])
    return probabilistic_margin(logits.softmax(1), y).mean().item()
