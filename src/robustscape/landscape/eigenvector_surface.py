"""The adversarial loss in the plane of the top two Hessian eigenvectors, with its height and curvature.

liu2020 figures 8 and 10. The surface itself is that of ``loss_surface_2d``; two numbers are added, to compare surfaces of
different eps.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.loss_surface_2d import loss_surface_2d
from robustscape.numbers import OddCount


def fitted_curvature(alpha: Tensor, beta: Tensor, values: Tensor) -> float:
    """Return the larger eigenvalue of the Hessian of the quadratic that fits a surface best (least squares).

    Args:
        alpha: first coordinates (n,).
        beta: second coordinates (n,).
        values: heights (n,).

    Raises:
        ConfigError: the points do not determine a quadratic.
    """
    terms = torch.stack([torch.ones_like(alpha), alpha, beta, alpha**2, alpha * beta, beta**2], dim=1)
    if torch.linalg.matrix_rank(terms) < terms.shape[1]:
        raise ConfigError(f"{len(alpha)} points of a surface do not determine a quadratic, which has 6 coefficients.")
    _, _, _, aa, ab, bb = torch.linalg.lstsq(terms, values[:, None]).solution[:, 0]
    matrix = torch.stack([torch.stack([2 * aa, ab]), torch.stack([ab, 2 * bb])])
    return torch.linalg.eigvalsh(matrix)[-1].item()


@devices.exact_fp32()
def eigenvector_surface(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    points: Annotated[OddCount, Field(ge=5)] = 21,
    span: Annotated[float, Field(gt=0)] = 1.0,
    axes: Literal["eigenvectors", "filter", "random"] = "eigenvectors",
    samples: Annotated[int, Field(ge=1)] | None = None,
    hessian_samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of ``loss_surface_2d``, and loss_range (largest minus smallest) and loss_curvature of the adversarial loss.

    loss_curvature is that of the quadratic fitted to the middle of the grid, the points within a third of the span
    (at least 3 x 3 of them).

    Args:
        run: the trained model and its data.
        attack: the maximum inside, recomputed at every point.
        eps: its perturbation budget; "run" for the run's own.
        points: grid points per side; odd, so that the trained weights are one of them.
        span: both coordinates run from -span to span.
        axes: as in ``loss_surface_2d``.
        samples: first samples of the split; None for all of it.
        hessian_samples: those of the Hessian, as in ``loss_surface_2d``.
        split: which split.
        seed: of directions and attack.
    """
    grid = loss_surface_2d(
        run,
        attack=attack,
        eps=eps,
        points=points,
        span=span,
        axes=axes,
        samples=samples,
        hessian_samples=hessian_samples,
        split=split,
        seed=seed,
    )
    found = [row for row in grid if row["metric"] == "adversarial_loss"]
    alpha, beta, loss = (
        torch.tensor([row[key] for row in found], dtype=torch.float64) for key in ("alpha", "beta", "value")
    )
    reach = max(span / 3, 2 * span / (points - 1)) * (1 + 1e-9)
    middle = (alpha.abs() <= reach) & (beta.abs() <= reach)
    numbers = {
        "loss_range": ((loss.max() - loss.min()).item(), "nats"),
        "loss_curvature": (fitted_curvature(alpha[middle], beta[middle], loss[middle]), "1"),
    }
    shared = {key: value for key, value in found[0].items() if key not in ("alpha", "beta", "metric", "value", "unit")}
    return grid + [
        {**shared, "alpha": None, "beta": None, "metric": metric, "value": value, "unit": unit}
        for metric, (value, unit) in numbers.items()
    ]
