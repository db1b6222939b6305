"""yamada2021, lemma 1: the loss under noise of a given norm depends on its angle to the weights alone, monotonically."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field

from robustscape.theory.logistic import agreement_row, logistic_losses, random_problem, unit_vector, worst_losses
from robustscape.theory.rows import check_row


def lemma_1(
    *,
    dimension: Annotated[int, Field(ge=2)] = 16,
    samples: Annotated[int, Field(ge=1)] = 64,
    eps: Annotated[float, Field(gt=0)] = 0.5,
    angles: Annotated[int, Field(ge=3)] = 181,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check that log(1 + exp(-y w.x + y ||w|| ||eta|| cos t)) rises with cos t for y = +1 and falls for y = -1 (eq 7).

    The angle t is between w and -eta, so y cos t = 1 is the worst case. The noise is built as a vector, at each angle in a
    random plane that contains w, one plane per sample.

    Args:
        dimension: number of weights.
        samples: number of random inputs; each is used with both labels.
        eps: norm of the noise.
        angles: number of angles, from 180 to 0 degrees.
        seed: seed of the inputs, weights and planes.
    """
    x, _, w = random_problem(dimension, samples, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    across = torch.randn(samples, dimension, generator=generator, dtype=torch.float64)
    across -= (across @ unit_vector(w))[:, None] * unit_vector(w)
    across /= across.norm(dim=1, keepdim=True)
    angle = torch.linspace(torch.pi, 0, angles, dtype=torch.float64)
    cosine, sine = angle.cos(), angle.sin()
    eta = eps * (-cosine[:, None, None] * unit_vector(w) + sine[:, None, None] * across)  # (angles, N, d)

    rows = []
    for label in (1.0, -1.0):
        y = torch.full((samples,), label, dtype=torch.float64)
        curve = torch.stack([logistic_losses(w, x + noise, y) for noise in eta])  # (angles, N)
        formula = F.softplus(-y * (x @ w) + label * w.norm() * eps * cosine[:, None])
        slope = label * curve.diff(dim=0) / cosine.diff()[:, None]
        worst = label * cosine[curve.argmax(0)]
        bound = worst_losses(w, x, y, eps, "L2")
        protocol = {
            "label": label,
            "dimension": dimension,
            "samples": samples,
            "eps": eps,
            "angles": angles,
            "seed": seed,
        }
        rows += [
            agreement_row("eq 7", "largest |loss - formula|", curve, formula, tolerance=1e-12, **protocol),
            check_row("lemma 1", "smallest slope of y loss along cos t", slope.min().item(), ">", 0.0, **protocol),
            check_row(
                "lemma 1",
                "smallest y cos t of a worst case",
                worst.min().item(),
                "==",
                1.0,
                tolerance=1e-12,
                **protocol,
            ),
            agreement_row(
                "worst case", "largest |closed form - grid|", bound, curve.amax(0), tolerance=1e-12, **protocol
            ),
        ]
    return rows
