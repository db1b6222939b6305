"""The spectrum of the adversarial loss's Hessian as a density, by stochastic Lanczos quadrature."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian
from robustscape.landscape.directions import flatten, parameters_of
from robustscape.landscape.lanczos import lanczos_quadrature, spectral_density


@devices.exact_fp32()
def hessian_density(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    draws: Annotated[int, Field(ge=1)] = 4,
    steps: Annotated[int, Field(ge=2)] = 64,
    points: Annotated[int, Field(ge=2)] = 201,
    width: Annotated[float, Field(gt=0)] = 0.01,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the density of the Hessian's eigenvalues (perturbation held fixed). Cost: draws x steps products with it.

    Rows spectral_density, one per grid point with its ``eigenvalue``; the density integrates to 1 over the real line.

    Args:
        run: the trained model and its data.
        attack: the perturbation.
        eps: its perturbation budget; "run" for the run's own.
        draws: number of random start vectors, averaged.
        steps: Lanczos steps per start vector.
        points: grid points, evenly spaced from the smallest node to the largest with a margin of four widths.
        width: standard deviation of the Gaussian around each node, relative to the range of the nodes.
        samples: first samples of the split; None for all of it.
        split: which split.
        seed: of attack and start vectors.
    """
    eps = run.attack_eps(eps)
    x, y = run.subset(split, samples)
    operator, how = hessian.adversarial_operator(run.model, x, y, attack, eps, convention="fixed", seed=seed)
    size, like = hessian.parameter_count(run.model), flatten(parameters_of(run.model))
    nodes, weights = lanczos_quadrature(operator, size, steps, draws, like, seed)
    low, high = nodes.min().item(), nodes.max().item()
    sigma = width * max(high - low, torch.finfo(torch.float32).eps)
    grid = torch.linspace(low - 4 * sigma, high + 4 * sigma, points, dtype=torch.float64)
    values = spectral_density(nodes, weights, grid, sigma)
    shared = {
        **protocol_columns(attack, eps, split, len(y)),
        **how,
        "solver": "lanczos quadrature",
        "draws": draws,
        "width": sigma,
    }
    return [
        shared | {"eigenvalue": at, "metric": "spectral_density", "value": value, "unit": "1"}
        for at, value in zip(grid.tolist(), values.tolist(), strict=True)
    ]
