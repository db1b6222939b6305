"""kanai2022, lemma 2 and theorem 1: under L2 attacks, worst input and loss are smooth in the weights away from 0."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    largest_ratio,
    lipschitz_bounds,
    random_weight_pairs,
    scaled_to_least_norm,
    worst_inputs,
)
from robustscape.theory.logistic import agreement_row, random_problem, unit_vector, worst_input
from robustscape.theory.rows import check_row


def lemma_2(
    *,
    dimension: Annotated[int, Field(ge=2)] = 10,
    draws: Annotated[int, Field(ge=10)] = 10_000,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    least_norm: Annotated[float, Field(gt=0)] = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check ||x'(t1) - x'(t2)|| <= eps/theta_min ||t1 - t2||, the Jacobian of x', and the constant of theorem 1.

    dx'/dtheta = -(y eps/||theta||) (I - theta theta^T/||theta||^2) has the singular value eps/||theta|| with multiplicity
    d - 1, and 0 along theta. Theorem 1 bounds the Lipschitz constant of the gradient by C_tt + eps C_tx/theta_min.

    Args:
        dimension: number of weights.
        draws: number of random pairs of weights.
        eps: perturbation budget.
        least_norm: theta_min, the least norm of the weights.
        seed: seed of the input and the weights.
    """
    x, y, w = random_problem(dimension, 1, seed)
    protocol = {"dimension": dimension, "draws": draws, "eps": eps, "least_norm": least_norm, "seed": seed}
    one, two = (scaled_to_least_norm(weights, least_norm) for weights in random_weight_pairs(draws, dimension, seed))
    apart = (one - two).norm(dim=1) > 0
    one, two = one[apart], two[apart]
    points = worst_inputs(one, x[0], y.item(), eps, "L2"), worst_inputs(two, x[0], y.item(), eps, "L2")
    slopes = (
        adversarial_gradients(one, x[0], y.item(), eps, "L2"),
        adversarial_gradients(two, x[0], y.item(), eps, "L2"),
    )
    top = max(one.norm(dim=1).max().item(), two.norm(dim=1).max().item())
    c_tt, c_tx = lipschitz_bounds(x[0], eps, "L2", top)
    jacobian = torch.func.jacrev(lambda v: worst_input(v, x, y, eps, "L2")[0])(w)
    direction = unit_vector(w)
    formula = -y * eps / w.norm() * (torch.eye(dimension, dtype=w.dtype) - torch.outer(direction, direction))
    singular = torch.linalg.svdvals(jacobian)
    slope = eps / w.norm().item()
    return [
        check_row(
            "lemma 2",
            "largest ||dx'|| / ||dtheta||",
            largest_ratio(points, (one, two)),
            "<=",
            eps / least_norm,
            tolerance=1e-6,
            **protocol,
        ),
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
        check_row(
            "theorem 1",
            "largest ||dgrad|| / ||dtheta||",
            largest_ratio(slopes, (one, two)),
            "<=",
            c_tt + eps * c_tx / least_norm,
            tolerance=1e-6,
            **protocol,
        ),
    ]
