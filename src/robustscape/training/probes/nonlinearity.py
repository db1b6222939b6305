"""Mean nonlinearity gamma of the loss along the single step after an epoch, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.evaluation.nonlinearity import loss_nonlinearity

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def nonlinearity(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "train",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Return the mean of gamma at the run's own eps; see ``evaluation.nonlinearity``.

    Args:
        context: the model after an epoch, and the data.
        split: which split.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    return loss_nonlinearity(context.model, x, y, context.eps).mean().item()
