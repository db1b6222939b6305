"""The loss around perturbations made on a source before and after alignment: ma2025 figure 6.3 (section 6.4.3).

For one image: the loss at x + a dx + b dx', dx the perturbation that PGD makes on the original or on the aligned net and dx' a
Gaussian direction orthogonal to it, scaled to ||dx'||_inf = eps; on the net that it was made on, and on a target. The image is
the first that all nets classify correctly, whose perturbation fails on the target if made on the original and succeeds if made on
the aligned net; failing that, the first whose succeeds there; failing that, the first that they classify correctly.

And over ``samples`` images a number: the loss at x + dx less its mean over ``POINTS`` points of a circle of radius 1/2 around
it in that plane (in units of dx), on the net that dx was made on. Points of the plane are not clipped. Cost: an attack on
original and aligned run, a pass per grid point and image of the circle, and the choice of learning rates.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.alignments import (
    Alignment,
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.trained_run import TrainedRun, attack_settings

#: Points of the circle, its radius, and half a side of the picture, in units of dx.
POINTS, RADIUS, HALF = 64, 0.5, 1.5

#: Inputs of a pass.
BATCH = 512


@devices.exact_fp32()
def alignment_surface(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    by_eps: Annotated[float, Field(gt=0)],
    target: str,
    samples: Annotated[int, Field(ge=1)] | None = None,
    points: Annotated[int, Field(ge=2)] = 41,
    target_seed: int = 1,
    held_out: str = "res34",
) -> list[dict[str, Any]]:
    """Return rows loss (nats) of the picture's layers, and sharpness and its difference by source and model.

    The picture's rows have panel, layer ("surface" or "point"), point, x, y and text, as the figure ``planes`` takes them. The
    numbers: sharpness by source, witness, model ("original" or "aligned") and draw; sharpness_difference (aligned less original,
    mean over images) and sharpness_difference_error, the standard error of that mean.

    Args:
        runs: base nets and aligned ones, of one data set.
        attack: makes the perturbations and chooses the learning rates.
        eps: perturbation budget.
        by_eps: budget of the examples by which learning rates are chosen, one for all measurements.
        target: name of the target of the picture, whose run has the seed ``target_seed``.
        samples: first test images; the last ones are kept for the choice.
        points: grid points of a side.
        target_seed: seed of the target and of the held-out net.
        held_out: the net that chooses learning rates.
    """
    base = base_runs(runs)
    aimed_at = find_base(base, target, target_seed)
    x, y = evaluated_images(runs[0], samples)
    shared = {
        "attack": attack.attack,
        "norm": attack.norm,
        "attack_eps": eps,
        "model_mode": attack.model_mode,
        **attack_settings(attack),
        "samples": len(y),
    }
    rows: list[dict[str, Any]] = []
    for alignment in chosen_alignments(runs, find_base(base, held_out, target_seed), attack, by_eps):
        named = {"source": alignment.source, "witness": alignment.witness}
        for number, run in enumerate(alignment.repetitions):
            nets = {"original": alignment.original, "aligned": run}
            moves = {model: craft(one.model, x, y, attack, eps, seed=run.seed) - x for model, one in nets.items()}
            across = {model: orthogonal(dx, eps, run.seed) for model, dx in moves.items()}
            sharp = {m: sharpness(one.model, x, y, moves[m], across[m]) for m, one in nets.items()}
            for model, one in nets.items():
                mean = {"metric": "sharpness", "value": sharp[model].mean().item(), "unit": "nats"}
                rows.append({**row_names(one), **named, **shared, "model": model, "draw": run.seed, **mean})
            difference = sharp["aligned"] - sharp["original"]
            error = difference.std() / math.sqrt(len(difference))
            for metric, value in (("sharpness_difference", difference.mean()), ("sharpness_difference_error", error)):
                rows.append(
                    {
                        **row_names(run),
                        **named,
                        **shared,
                        "draw": run.seed,
                        "metric": metric,
                        "value": value.item(),
                        "unit": "nats",
                    }
                )
            if number == 0:
                image = telling_image(nets, aimed_at, x, y, moves)
                rows += [
                    {**row_names(run), **named, **shared, "image": image, **row}
                    for row in _picture(
                        alignment, nets, aimed_at, target, (x[image], y[image]), moves, across, image, points, len(rows)
                    )
                ]
    return rows


def orthogonal(dx: Tensor, eps: float, seed: int) -> Tensor:
    """Return directions (N, ...) orthogonal to those of ``dx`` (N, ...), Gaussian, with largest entry ``eps``."""
    index = torch.arange(len(dx), device=dx.device)
    drawn = SampleGenerator.seeded(seed + 1, index, dx.device).normal(dx.shape[1:]).to(dx)
    flat, along = drawn.flatten(1), dx.flatten(1)
    squares = along.square().sum(1, keepdim=True).clamp_min(torch.finfo(dx.dtype).tiny)
    rest = flat - along * (flat * along).sum(1, keepdim=True) / squares
    scaled = eps * rest / rest.abs().amax(1, keepdim=True).clamp_min(torch.finfo(dx.dtype).tiny)
    return scaled.view_as(dx)


def sharpness(net: nn.Module, x: Tensor, y: Tensor, dx: Tensor, across: Tensor) -> Tensor:
    """Return the loss (N,) at x + dx less its mean over the circle around it, in nats, double."""
    at = _losses(net, x + dx, y)
    around = torch.zeros_like(at)
    for number in range(POINTS):
        angle = 2 * math.pi * number / POINTS
        a, b = 1 + RADIUS * math.cos(angle), RADIUS * math.sin(angle)
        around += _losses(net, x + a * dx + b * across, y) / POINTS
    return at - around


def telling_image(
    nets: dict[str, TrainedRun], target: TrainedRun, x: Tensor, y: Tensor, moves: dict[str, Tensor]
) -> int:
    """Return the number of the image of the picture; see the module."""
    right = torch.stack([correctly_classified(one.model, x, y) for one in (*nets.values(), target)]).all(0)
    fooled = {model: ~correctly_classified(target.model, x + dx, y) for model, dx in moves.items()}
    wanted = [right & ~fooled["original"] & fooled["aligned"], right & fooled["aligned"], right]
    return next((int(mask.nonzero()[0]) for mask in wanted if mask.any()), 0)


def _picture(
    alignment: Alignment,
    nets: dict[str, TrainedRun],
    target_run: TrainedRun,
    target: str,
    sample: tuple[Tensor, Tensor],
    moves: dict[str, Tensor],
    across: dict[str, Tensor],
    image: int,
    points: int,
    first: int,
) -> list[dict[str, Any]]:
    """Return the rows of four panels: both perturbations, on the net that they were made on and on the target; * is aligned.

    Their places in the drawing order are counted from ``first``.
    """
    ticks = torch.linspace(-HALF, HALF, points, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)
    x, y = sample
    rows: list[dict[str, Any]] = []
    for model, own in nets.items():
        made = alignment.source if model == "original" else f"{alignment.source}*"
        for seen_by, net in ((made, own), (f"target {target}", target_run)):
            a, b = (grid[:, i].to(x).view(-1, *[1] * x.dim()) for i in range(2))
            values = _losses(net.model, x + a * moves[model][image] + b * across[model][image], y.expand(len(grid)))
            panel = {
                "panel": f"{made} → {seen_by}",
                "metric": "loss",
                "unit": "nats",
            }
            rows += [
                {**panel, "layer": "surface", "x": u, "y": v, "value": value}
                for (u, v), value in zip(grid.tolist(), values.tolist(), strict=True)
            ]
            rows += [
                {**panel, "layer": "point", "x": u, "y": 0.0, "value": 0.0, "text": text, "dx": dx, "dy": 6.0}
                for u, text, dx in ((0.0, "clean", -7.0), (1.0, "attacked", 7.0))
            ]
    return [{**row, "method": None, "point": number} for number, row in enumerate(rows, first)]


def _losses(net: nn.Module, points: Tensor, y: Tensor) -> Tensor:
    parts = [
        F.cross_entropy(predict(net, a).double(), b, reduction="none")
        for a, b in zip(points.split(BATCH), y.split(BATCH), strict=True)
    ]
    return torch.cat(parts)
