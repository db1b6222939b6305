"""The effect of a descent step with the gradient of one point on the loss at others: kim2023 figure 5.5."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape import devices
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import movable


@devices.exact_fp32()
def loss_decrease(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    rates: list[Annotated[float, Field(gt=0)]] = [0.01, 0.1],  # noqa: B006  (a schema; never changed)
    points: Annotated[int, Field(ge=2)] = 21,
    batch: Annotated[int, Field(ge=1)] | Literal["run"] | None = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
) -> list[dict[str, Any]]:
    """Return rows loss_decrease (nats): loss(u) - loss(u - lr d) at u = mu w^p1 + (1 - mu) w^p2.

    d is the gradient at w, at the one-step point w^p1 or at the two-step point w^p2; the column ``gradient`` says which.

    Args:
        run: the trained model and its data.
        rho: length of the ascents; "run" for the rho of the training.
        rates: learning rates lr; the last one of training is 0, so they are given here.
        points: number of values of mu, from 0 to 1.
        batch: samples of an ascent and of its loss; "run": as many as in training; None: all of them together.
        samples: first samples of the split; None for all.
        split: which split.

    Cost: per batch 3 gradients and, for each of ``points``, 1 forward pass and 3 for each rate.
    """
    rho, size = ascent.ascent_rho(run, rho), ascent.ascent_batch(run, batch)
    x, y = run.subset(split, samples)
    model = ascent.eval_copy(run.model)
    mixes = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    names = ("at w", "at one step", "at two steps")
    sums = {(name, lr): torch.zeros(points, dtype=torch.float64) for name in names for lr in rates}
    with movable(model) as move:
        for part, labels, weight in ascent.weighted_batches(x, y, size):
            move([], [])
            slopes = [ascent.batch_gradient(model, part, labels)]
            offsets = []
            for steps in (1, 2):
                offsets.append(ascent.ascend_weights(model, move, part, labels, rho, steps, slopes[0]))
                slopes.append(ascent.batch_gradient(model, part, labels))
            for i, mu in enumerate(mixes):
                move(offsets, [mu, 1 - mu])
                before = ascent.batch_loss(model, part, labels)
                for name, slope in zip(names, slopes, strict=True):
                    for lr in rates:
                        move([*offsets, slope], [mu, 1 - mu, -lr])
                        sums[name, lr][i] += weight * (before - ascent.batch_loss(model, part, labels)).cpu()
    shared = ascent.ascent_columns(run, rho, size, split, len(y))
    return [
        shared | {"gradient": name, "lr": lr, "mu": mu, "metric": "loss_decrease", "value": value, "unit": "nats"}
        for (name, lr), line in sums.items()
        for mu, value in zip(mixes, line.tolist(), strict=True)
    ]
