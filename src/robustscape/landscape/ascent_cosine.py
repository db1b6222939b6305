"""The angle between the gradients at the one-step and the two-step ascent point: kim2023 figure 5.4a."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from robustscape import devices
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import movable


@devices.exact_fp32()
def cosine_of_ascents(model: nn.Module, x: Tensor, y: Tensor, rho: float, batch: int | None) -> float:
    """Return the mean over batches of cos(g(w^p1), g(w^p2)); both ascents have length ``rho``. Cost: 4 gradients per batch.

    Args:
        model: any net; a copy in eval mode is moved.
        x: inputs (N, ...).
        y: labels (N,).
        rho: length of the ascents.
        batch: samples of an ascent; None: all of them together.
    """
    twin = ascent.eval_copy(model)
    total = 0.0
    with movable(twin) as move:
        for part, labels, weight in ascent.weighted_batches(x, y, batch):
            move([], [])
            start = ascent.batch_gradient(twin, part, labels)
            slopes = []
            for steps in (1, 2):
                ascent.ascend_weights(twin, move, part, labels, rho, steps, start)
                slopes.append(ascent.batch_gradient(twin, part, labels))
            total += weight * ascent.cosine_between(*slopes)
    return total


@devices.exact_fp32()
def ascent_cosine(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    batch: Annotated[int, Field(ge=1)] | Literal["run"] | None = "run",
    samples: Annotated[int, Field(ge=1)] | None = 512,
) -> list[dict[str, Any]]:
    """Return one row, final_cosine_grad_p1_p2: the cosine on training data after training.

    Args:
        run: the trained model and its data.
        rho: length of the ascents; "run" for the rho of the training.
        batch: samples of an ascent; "run": as many as in training; None: all of them together.
        samples: first samples of the training data; None for all.
    """
    rho, size = ascent.ascent_rho(run, rho), ascent.ascent_batch(run, batch)
    x, y = run.subset("train", samples)
    return [
        {
            **ascent.ascent_columns(run, rho, size, "train", len(y)),
            "metric": "final_cosine_grad_p1_p2",
            "value": cosine_of_ascents(run.model, x, y, rho, size),
            "unit": "1",
        }
    ]
