"""Mean nonlinearity gamma of the loss along the single step after an epoch, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.evaluation.nonlinearity import gamma

if TYPE_CHECKING:
    from robustscape.training.loop import ProbeContext


def nonlinearity(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "train",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """See ``evaluation.nonlinearity``; the run's own radius.

    Args:
        context: the model after an epoch, and the data.
        split: which split.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    return gamma(context.model, x, y, context.eps).mean().item()
