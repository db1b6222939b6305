"""The angle between the gradients at the one-step and the two-step ascent point: kim2023 figure 5.4a."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import movable


def cosine_of_ascents(model: nn.Module, x: Tensor, y: Tensor, rho: float, batch: int | None) -> float:
    """Mean over batches of cos(g(w^p1), g(w^p2)), both points found with radius ``rho``; 4 gradients a batch."""
    twin = ascent.measurable(model)
    total = 0.0
    with movable(twin) as move:
        for part, labels, share in ascent.batches(x, y, batch):
            move([], [])
            start = ascent.gradient(twin, part, labels)
            slopes = []
            for steps in (1, 2):
                ascent.climb(twin, move, part, labels, rho, steps, start)
                slopes.append(ascent.gradient(twin, part, labels))
            total += share * ascent.cosine(*slopes)
    return total


def ascent_cosine(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    batch: Annotated[int, Field(ge=1)] | None = 128,
    samples: Annotated[int, Field(ge=1)] | None = 512,
) -> list[dict[str, Any]]:
    """One row, final_cosine_grad_p1_p2: the cosine on training data after training.

    Args:
        run: the trained model and its data.
        rho: radius of the ascents; "run" for the one trained with.
        batch: samples of an ascent; None: all of them together.
        samples: first samples of the training data; None for all.
    """
    rho = ascent.radius(run, rho)
    x, y = run.subset("train", samples)
    return [
        {
            **ascent.columns(run, rho, batch, "train", len(y)),
            "metric": "final_cosine_grad_p1_p2",
            "value": cosine_of_ascents(run.model, x, y, rho, batch),
            "unit": "1",
        }
    ]
