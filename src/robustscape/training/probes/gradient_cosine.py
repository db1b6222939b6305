"""The angle between the gradients at the one-step and the two-step ascent point, after an epoch (kim2023 figure 5.4a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from robustscape.landscape.ascent_cosine import cosine_of_ascents

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def gradient_cosine(
    context: ProbeContext,
    *,
    rho: Annotated[float, Field(gt=0)],
    batch: Annotated[int, Field(ge=1)] | None = 128,
    samples: Annotated[int, Field(ge=1)] | None = 512,
) -> float:
    """Return the mean over batches of cos(g(w^p1), g(w^p2)) on training data, the same samples after every epoch.

    BatchNorm is in eval mode. Cost: 4 gradients per batch.

    Args:
        context: the model after an epoch, and the data.
        rho: length of the ascents.
        batch: samples of an ascent; None: all of them together.
        samples: first samples of the training data; None for all.
    """
    x, y = context.subset("train", samples)
    return cosine_of_ascents(context.model, x, y, rho, batch)
