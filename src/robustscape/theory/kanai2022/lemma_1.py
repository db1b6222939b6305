"""kanai2022, lemma 1 and proposition 1: the adversarial loss is smooth if its worst input is Lipschitz in the weights."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    lipschitz_bounds,
    random_weight_pairs,
    worst_inputs,
)
from robustscape.theory.logistic import agreement_row, random_problem, worst_losses
from robustscape.theory.rows import check_row


def lemma_1(
    *,
    dimension: Annotated[int, Field(ge=2)] = 10,
    draws: Annotated[int, Field(ge=10)] = 10_000,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check ||dgrad l_eps|| <= C_tt ||dtheta|| + C_tx ||dx'|| on pairs of weights, however x' moves.

    So the loss is smooth wherever x' is Lipschitz. Liu et al. (2020), who assume nothing about x', have 2 C_tx times the
    Euclidean radius of the ball instead of C_tx ||dx'||, its largest value. Danskin's theorem, that the gradient of l_eps is the
    one with x' held fixed, is checked too.

    Args:
        dimension: number of weights.
        draws: number of random pairs of weights.
        eps: perturbation budget.
        seed: seed of the input and the weights.
    """
    x, y, w = random_problem(dimension, 1, seed)
    one, two = random_weight_pairs(draws, dimension, seed)
    rows = []
    for norm in ("L2", "Linf"):
        protocol = {"dimension": dimension, "draws": draws, "eps": eps, "norm": norm, "seed": seed}
        top = max(one.norm(dim=1).max().item(), two.norm(dim=1).max().item())
        c_tt, c_tx = lipschitz_bounds(x[0], eps, norm, top)
        apart = (one - two).norm(dim=1)
        inputs = [worst_inputs(t, x[0], y.item(), eps, norm) for t in (one, two)]
        slopes = [adversarial_gradients(t, x[0], y.item(), eps, norm) for t in (one, two)]
        moved, change = (inputs[0] - inputs[1]).norm(dim=1), (slopes[0] - slopes[1]).norm(dim=1)
        radius = eps * (dimension**0.5 if norm == "Linf" else 1.0)
        autodiff = torch.func.grad(lambda v, norm=norm: worst_losses(v, x, y, eps, norm).mean())(w)
        held = adversarial_gradients(w[None], x[0], y.item(), eps, norm)[0]
        excess = (change - c_tt * apart - c_tx * moved).max().item()
        liu = (change - c_tt * apart - 2 * radius * c_tx).max().item()
        rows += [
            check_row(
                "lemma 1", "largest excess over C_tt |dt| + C_tx |dx'|", excess, "<=", 0.0, tolerance=1e-9, **protocol
            ),
            check_row(
                "proposition 1", "largest excess over Liu et al.'s bound", liu, "<=", 0.0, tolerance=1e-9, **protocol
            ),
            agreement_row("Danskin", "largest |x' held - autodiff|", held, autodiff, tolerance=1e-12, **protocol),
        ]
    return rows
