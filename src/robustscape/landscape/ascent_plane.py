"""The plane of the one-step and the two-step ascent: kim2023 figures 5.3b and 5.4b."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape import devices
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import Direction, Move, movable

#: Points of the arc from v_1 to v_2.
_ARC_SHARES = [number / 10 for number in range(11)]


@devices.exact_fp32()
def ascent_plane(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    measure: Literal["perturbed_loss", "gradient_cosine"] = "perturbed_loss",
    points: Annotated[int, Field(ge=2)] = 21,
    batch: Annotated[int, Field(ge=1)] | Literal["run"] | None = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
) -> list[dict[str, Any]]:
    """Return the loss, or the gradient's cosine with that at w^p1, at w + a v_1 + b v_2 for a and b from 0 to 2 rho.

    One row per point: perturbed_loss (nats) or gradient_cosine, with columns a and b. With the loss also rows loss_on_arc:
    on the arc |a v_1 + b v_2| = rho from v_1 (share_v2 = 0) to v_2 (1), a and b in the ratio 1 - share_v2 to share_v2.

    Args:
        run: the trained model and its data.
        rho: length of the ascents; "run" for the rho of the training.
        measure: what is measured.
        points: number of values of a, and of b.
        batch: samples of an ascent and of its loss; "run": as many as in training; None: all of them together.
        samples: first samples of the split; None for all.
        split: which split.

    Cost: per batch points^2 forward passes, with backward passes for the cosine.
    """
    rho, size = ascent.ascent_rho(run, rho), ascent.ascent_batch(run, batch)
    x, y = run.subset(split, samples)
    model = ascent.eval_copy(run.model)
    axis = torch.linspace(0, 2 * rho, points, dtype=torch.float64).tolist()
    shares = _ARC_SHARES if measure == "perturbed_loss" else []
    grid = torch.zeros(points, points, dtype=torch.float64)
    arc = torch.zeros(len(shares), dtype=torch.float64)
    with movable(model) as move:
        for part, labels, weight in ascent.weighted_batches(x, y, size):
            batch_grid, batch_arc = _measure_batch(model, move, part, labels, rho, axis, shares, measure)
            grid += weight * batch_grid
            arc += weight * batch_arc
    shared = ascent.ascent_columns(run, rho, size, split, len(y))
    unit = "nats" if measure == "perturbed_loss" else "1"
    entries: list[dict[str, Any]] = [
        {"a": a, "b": b, "metric": measure, "value": grid[i, j].item(), "unit": unit}
        for i, a in enumerate(axis)
        for j, b in enumerate(axis)
    ]
    entries += [
        {"share_v2": share, "metric": "loss_on_arc", "value": value, "unit": unit}
        for share, value in zip(shares, arc.tolist(), strict=True)
    ]
    return [shared | entry for entry in entries]


def _measure_batch(
    model: nn.Module, move: Move, x: Tensor, y: Tensor, rho: float, axis: list[float], shares: list[float], measure: str
) -> tuple[Tensor, Tensor]:
    """The quantity ``measure`` on the grid, and the loss on the arc, of one batch; float64 on the CPU."""
    move([], [])
    start = ascent.batch_gradient(model, x, y)
    v_1 = ascent.scale_to(start, 1.0)
    v_2 = ascent.scale_to(ascent.ascend_weights(model, move, x, y, rho, 2, start), 1.0)
    move([v_1], [rho])
    one_step = ascent.batch_gradient(model, x, y)
    grid = torch.zeros(len(axis), len(axis), dtype=torch.float64)
    for i, a in enumerate(axis):
        for j, b in enumerate(axis):
            move([v_1, v_2], [a, b])
            if measure == "perturbed_loss":
                grid[i, j] = ascent.batch_loss(model, x, y).cpu()
            else:
                grid[i, j] = ascent.cosine_between(one_step, ascent.batch_gradient(model, x, y))
    arc = torch.zeros(len(shares), dtype=torch.float64)
    for i, share in enumerate(shares):
        move([_between(v_1, v_2, share)], [rho])
        arc[i] = ascent.batch_loss(model, x, y).cpu()
    return grid, arc


def _between(v_1: Direction, v_2: Direction, share: float) -> Direction:
    """The unit vector along (1 - share) v_1 + share v_2."""
    return ascent.scale_to({name: (1 - share) * v_1[name] + share * v_2[name] for name in v_1}, 1.0)
