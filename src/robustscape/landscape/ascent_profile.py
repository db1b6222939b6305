"""The loss along the directions that several ascent steps find: kim2023 figures 5.2 and 5.3a."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape import devices
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import movable


@devices.exact_fp32()
def ascent_profile(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    steps: list[Annotated[int, Field(ge=1)]] = [1, 2, 3, 5],  # noqa: B006  (a schema; never changed)
    points: Annotated[int, Field(ge=2)] = 41,
    batch: Annotated[int, Field(ge=1)] | Literal["run"] | None = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
) -> list[dict[str, Any]]:
    """Return rows perturbed_loss (nats): loss(w + k v_N) at distances k from 0 to 2 rho; v_N has norm 1 for every N.

    Args:
        run: the trained model and its data.
        rho: length of the ascents that find v_N; "run" for the rho of the training.
        steps: numbers N of ascent steps.
        points: number of values of k.
        batch: samples of an ascent and of its loss; "run": as many as in training; None: all of them together.
        samples: first samples of the split; None for all.
        split: which split.

    Cost: per batch and N, N gradients and ``points`` forward passes.
    """
    rho, size = ascent.ascent_rho(run, rho), ascent.ascent_batch(run, batch)
    x, y = run.subset(split, samples)
    model = ascent.eval_copy(run.model)
    distances = torch.linspace(0, 2 * rho, points, dtype=torch.float64).tolist()
    sums = {number: torch.zeros(points, dtype=torch.float64) for number in steps}
    with movable(model) as move:
        for part, labels, weight in ascent.weighted_batches(x, y, size):
            move([], [])
            start = ascent.batch_gradient(model, part, labels)
            for number in steps:
                v = ascent.scale_to(ascent.ascend_weights(model, move, part, labels, rho, number, start), 1.0)
                losses = []
                for k in distances:
                    move([v], [k])
                    losses.append(ascent.batch_loss(model, part, labels))
                sums[number] += weight * torch.stack(losses).cpu()
    shared = ascent.ascent_columns(run, rho, size, split, len(y))
    return [
        shared | {"n_ascent_eval": number, "k": k, "metric": "perturbed_loss", "value": value, "unit": "nats"}
        for number, line in sums.items()
        for k, value in zip(distances, line.tolist(), strict=True)
    ]
