"""kanai2022, lemma 2 and theorem 1: under L2 attacks, worst input and loss are smooth in the weights away from 0."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    bound_rows,
    largest_ratio,
    lipschitz_bounds,
    small_margins,
    weight_pairs_above,
    worst_inputs,
)
from robustscape.theory.logistic import agreement_row, random_problem, unit_vector, worst_input
from robustscape.theory.rows import check_row


def lemma_2(
    *,
    dimension: Annotated[int, Field(ge=2)] = 10,
    draws: Annotated[int, Field(ge=10)] = 10_000,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check ||x'(t1) - x'(t2)|| <= eps/theta_min ||t1 - t2||, the Jacobian of x', and the constant of theorem 1.

    dx'/dtheta = -(y eps/||theta||) (I - theta theta^T/||theta||^2) has the singular value eps/||theta|| with multiplicity
    d - 1, and 0 along theta. Theorem 1 bounds the Lipschitz constant of the gradient by C_tt + eps C_tx/theta_min. Both bounds
    are checked where they have little room, so that half of a constant would not do.

    Args:
        dimension: number of weights.
        draws: number of random pairs of weights.
        eps: perturbation budget.
        seed: seed of the input and the weights.
    """
    problem = small_margins(dimension, eps, seed)
    least = problem.least_norm
    pairs = weight_pairs_above(draws, problem, seed)
    points = tuple(worst_inputs(t, problem.x, problem.y, eps, "L2") for t in pairs)
    slopes = tuple(adversarial_gradients(t, problem.x, problem.y, eps, "L2") for t in pairs)
    c_tt, c_tx = lipschitz_bounds(problem.x, eps, "L2", max(t.norm(dim=1).max().item() for t in pairs))
    moved = largest_ratio((points[0], points[1]), pairs) / (eps / least)
    bent = largest_ratio((slopes[0], slopes[1]), pairs) / (c_tt + eps * c_tx / least)

    x, y, w = random_problem(dimension, 1, seed)
    protocol = {"dimension": dimension, "draws": draws, "eps": eps, "seed": seed}
    jacobian = torch.func.jacrev(lambda v: worst_input(v, x, y, eps, "L2")[0])(w)
    direction = unit_vector(w)
    formula = -y * eps / w.norm() * (torch.eye(dimension, dtype=w.dtype) - torch.outer(direction, direction))
    singular = torch.linalg.svdvals(jacobian)
    slope = eps / w.norm().item()
    return [
        *bound_rows("lemma 2", "||dx'|| / ||dtheta|| over eps/theta_min", moved, 0.95, least_norm=least, **protocol),
        agreement_row("lemma 2", "largest |Jacobian - formula|", jacobian, formula, tolerance=1e-12, **protocol),
        check_row("lemma 2", "norm of the Jacobian", singular[0].item(), "==", slope, tolerance=1e-6, **protocol),
        check_row(
            "lemma 2",
            "singular values eps/||theta||",
            ((singular - slope).abs() < 1e-9).sum().item(),
            "==",
            dimension - 1,
            **protocol,
        ),
        check_row("lemma 2", "|Jacobian theta|", (jacobian @ w).norm().item(), "==", 0.0, tolerance=1e-12, **protocol),
        *bound_rows("theorem 1", "||dgrad|| / ||dtheta|| over its bound", bent, 0.85, least_norm=least, **protocol),
    ]
