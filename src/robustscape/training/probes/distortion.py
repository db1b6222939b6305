"""Distortion of the decision boundary after an epoch, in percent (kim2023 equation 2.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.evaluation.harness.distorted import distorted, percent_of

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def distortion(
    context: ProbeContext,
    *,
    split: Literal["train", "test"] = "train",
    points: Annotated[int, Field(ge=1)] = 100,
    samples: Annotated[int, Field(ge=1)] | None = 128,
) -> float:
    """Return the distortion at the run's own eps; NaN if no sample is correct at both ends. See ``evaluation.distortion``.

    Args:
        context: the model after an epoch, and the data.
        split: which split.
        points: interior points of the segment.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    return percent_of(*distorted(context.model, x, y, context.eps, points))
