"""The adversarial loss on a plane through the trained weights: liu2020 figures 8 and 10."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.landscape import hessian
from robustscape.landscape._protocol import columns, radius, rows, subset
from robustscape.landscape.directions import (
    Direction,
    filter_normalised,
    flatten,
    parameters_of,
    unflatten,
    unit_random,
)
from robustscape.landscape.lanczos import top_eigenpairs
from robustscape.landscape.surface import Inner, surface
from robustscape.runs import TrainedRun


def loss_surface_2d(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    points: Annotated[int, Field(ge=2)] = 21,
    span: Annotated[float, Field(gt=0)] = 1.0,
    axes: Literal["eigenvectors", "filter", "random"] = "eigenvectors",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    inside: Literal["recomputed", "redrawn", "frozen"] = "recomputed",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """L(w + alpha h1 + beta h2) on a square grid, with the attack recomputed at every point.

    Rows, one a grid point: adversarial_loss and clean_loss (nats), robust_error (percent).

    Args:
        run: the trained model and its data.
        attack: the maximum inside, or the noise.
        eps: its radius; "run" for the run's own.
        points: grid points of a side.
        span: alpha and beta run from -span to span.
        axes: "eigenvectors": the top two of the adversarial Hessian (perturbation held fixed), unit norm; "filter":
            filter-normalised random directions; "random": random directions of unit norm.
        samples: first samples of the split; None for all of it.
        split: which split.
        inside: "recomputed", "redrawn" or "frozen", as in loss_surface_1d.
        seed: of directions and attack.
    """
    eps = radius(run, eps)
    x, y = subset(run, split, samples)
    plane = _axes(run, axes, x, y, attack, eps, seed)
    ticks = torch.linspace(-span, span, points, dtype=torch.float64)
    coordinates = torch.cartesian_prod(ticks, ticks)
    found = surface(run.model, x, y, plane, coordinates, Inner(attack, eps, inside, seed), run.state)

    shared = {
        **columns(attack, eps, split, len(y)),
        "inside": inside,
        "directions": axes,
        "direction_seed": seed,
        "span": span,
    }
    measured = (
        ("adversarial_loss", found.loss, 1.0, "nats"),
        ("robust_error", found.error, 100.0, "percent"),
        ("clean_loss", found.clean_loss, 1.0, "nats"),
    )
    return rows(
        shared,
        (
            {"alpha": alpha, "beta": beta, "metric": metric, "value": factor * value, "unit": unit}
            for metric, values, factor, unit in measured
            for (alpha, beta), value in zip(coordinates.tolist(), values.tolist(), strict=True)
        ),
    )


def _axes(
    run: TrainedRun, axes: str, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, seed: int
) -> list[Direction]:
    """The two directions that span the plane."""
    if axes == "filter":
        return [filter_normalised(run.model, seed, number) for number in range(2)]
    if axes == "random":
        return [unit_random(run.model, seed, number) for number in range(2)]
    operator, _ = hessian.adversarial(run.model, x, y, attack, eps, convention="fixed", seed=seed)
    like = parameters_of(run.model)
    pairs = top_eigenpairs(operator, hessian.size(run.model), 2, flatten(like), seed=seed)
    # An eigenvector's sign is arbitrary; fix it so that the same model always gives the same picture.
    vectors = [v * torch.sign(v[v.abs().argmax()]) for v in pairs.vectors]
    return [unflatten(vector, like) for vector in vectors]
