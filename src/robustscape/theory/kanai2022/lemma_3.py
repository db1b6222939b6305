"""kanai2022, lemma 3 and theorem 2: under Linf attacks, the worst input jumps where a weight changes sign, and only there."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    largest_ratio,
    lipschitz_bounds,
    random_weight_pairs,
    worst_inputs,
)
from robustscape.theory.logistic import random_problem
from robustscape.theory.rows import check_row


def lemma_3(
    *,
    dimension: Annotated[int, Field(ge=2)] = 10,
    draws: Annotated[int, Field(ge=10)] = 1000,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    gap: Annotated[float, Field(gt=0)] = 1e-6,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check that ||x'(t1) - x'(t2)|| = 2 eps sqrt(k) if k signs differ, however close the weights, and 0 if none does.

    So no constant bounds its ratio to ||t1 - t2||, and the gradient of the loss jumps, too; within an orthant x' is constant and
    the loss is C_tt-smooth (theorem 2).

    Args:
        dimension: number of weights.
        draws: number of random pairs of weights.
        eps: perturbation budget.
        gap: pairs with one different sign have that weight at +gap and -gap.
        seed: seed of the input and the weights.
    """
    x, y, _ = random_problem(dimension, 1, seed)
    x, label = x[0], y.item()
    protocol = {"dimension": dimension, "draws": draws, "eps": eps, "gap": gap, "seed": seed}
    one, two = random_weight_pairs(draws, dimension, seed)
    flipped, other = one.clone(), one.clone()
    column = torch.arange(draws) % dimension
    flipped[torch.arange(draws), column], other[torch.arange(draws), column] = gap, -gap
    jump = worst_inputs(flipped, x, label, eps, "Linf") - worst_inputs(other, x, label, eps, "Linf")
    distance = (flipped - other).norm(dim=1)
    kink = adversarial_gradients(flipped, x, label, eps, "Linf") - adversarial_gradients(other, x, label, eps, "Linf")

    neighbour = two.abs() * one.sign()  # in the orthant of the first
    inside = worst_inputs(one, x, label, eps, "Linf") - worst_inputs(neighbour, x, label, eps, "Linf")
    slopes = adversarial_gradients(one, x, label, eps, "Linf"), adversarial_gradients(neighbour, x, label, eps, "Linf")
    apart = (one - neighbour).norm(dim=1) > 0
    smooth = largest_ratio((slopes[0][apart], slopes[1][apart]), (one[apart], neighbour[apart]))
    c_tt, _ = lipschitz_bounds(x, eps, "Linf", 1.0)
    return [
        check_row(
            "lemma 3",
            "least ||dx'|| across a sign",
            jump.norm(dim=1).min().item(),
            ">=",
            2 * eps,
            tolerance=1e-12,
            **protocol,
        ),
        check_row(
            "lemma 3", "least ||dx'|| / ||dtheta||", (jump.norm(dim=1) / distance).min().item(), ">", 1e5, **protocol
        ),
        check_row(
            "lemma 3",
            "least ||dgrad|| / ||dtheta||",
            (kink.norm(dim=1) / distance).median().item(),
            ">",
            1e3,
            **protocol,
        ),
        check_row("lemma 3", "largest ||dx'|| in an orthant", inside.norm(dim=1).max().item(), "==", 0.0, **protocol),
        check_row(
            "theorem 2", "largest ||dgrad|| / ||dtheta|| in an orthant", smooth, "<=", c_tt, tolerance=1e-6, **protocol
        ),
    ]
