"""The adversarial loss on a plane through the trained weights: liu2020 figures 8 and 10."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian
from robustscape.landscape.directions import (
    Direction,
    filter_normalised,
    unit_random,
)
from robustscape.landscape.surface import Inner, surface


@devices.exact_fp32()
def loss_surface_2d(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    points: Annotated[int, Field(ge=2)] = 21,
    span: Annotated[float, Field(gt=0)] = 1.0,
    axes: Literal["eigenvectors", "filter", "random"] = "eigenvectors",
    samples: Annotated[int, Field(ge=1)] | None = None,
    hessian_samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    inside: Literal["recomputed", "redrawn", "frozen"] = "recomputed",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return L(w + alpha h1 + beta h2) on a square grid, with the attack recomputed at every point.

    Rows per grid point: adversarial_loss and clean_loss (nats), robust_error (percent).

    Args:
        run: the trained model and its data.
        attack: the maximum inside, or the noise.
        eps: its perturbation budget; "run" for the run's own.
        points: grid points per side.
        span: alpha and beta run from -span to span.
        axes: "eigenvectors": the top two of the adversarial Hessian (perturbation held fixed), unit norm; "filter":
            filter-normalised random directions; "random": random directions of unit norm.
        samples: first samples of the split; None for all of it.
        hessian_samples: first samples of the split for the Hessian, whose cost does not depend on ``points``; None: as many as
            ``samples``.
        split: which split.
        inside: "recomputed", "redrawn" or "frozen", as in loss_surface_1d.
        seed: of directions and attack.
    """
    eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    points_of_hessian = run.subset(split, hessian_samples or samples)
    plane = _plane_directions(run, axes, *points_of_hessian, attack, eps, seed)
    ticks = torch.linspace(-span, span, points, dtype=torch.float64)
    coordinates = torch.cartesian_prod(ticks, ticks)
    found = surface(run.model, x, y, plane, coordinates, Inner(attack, eps, inside, seed), run.state)

    shared = {
        **protocol_columns(attack, eps, split, len(y)),
        "inside": inside,
        "directions": axes,
        "direction_seed": seed,
        "span": span,
        **({"hessian_samples": len(points_of_hessian[1])} if axes == "eigenvectors" else {}),
    }
    return [
        {**shared, "alpha": alpha, "beta": beta, "metric": metric, "value": value, "unit": unit}
        for metric, values, unit in found.measured()
        for (alpha, beta), value in zip(coordinates.tolist(), values.tolist(), strict=True)
    ]


def _plane_directions(
    run: TrainedRun, axes: str, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, seed: int
) -> list[Direction]:
    """The two directions that span the plane."""
    if axes == "filter":
        return [filter_normalised(run.model, seed, number) for number in range(2)]
    if axes == "random":
        return [unit_random(run.model, seed, number) for number in range(2)]
    return hessian.top_directions(run.model, x, y, attack, eps, 2, seed=seed)
