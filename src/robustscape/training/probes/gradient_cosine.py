"""The angle between the gradients at the one-step and the two-step ascent point, after an epoch (kim2023 figure 5.4a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from robustscape.landscape.ascent_cosine import cosine_of_ascents

if TYPE_CHECKING:
    from robustscape.training.loop import ProbeContext


def gradient_cosine(
    context: ProbeContext,
    *,
    rho: Annotated[float, Field(gt=0)],
    batch: Annotated[int, Field(ge=1)] | None = 128,
    samples: Annotated[int, Field(ge=1)] | None = 512,
) -> float:
    """Mean over batches of cos(g(w^p1), g(w^p2)) on the first ``samples`` training images, the same after every epoch.

    Batch normalisation is in eval mode; the ascents have radius ``rho``. Cost: 4 gradients a batch.
    """
    x, y = context.train.first(samples)
    return cosine_of_ascents(context.model, x, y, rho, batch)
