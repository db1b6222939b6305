"""kanai2022, lemma 1 and proposition 1: the adversarial loss is smooth if its worst input is Lipschitz in the weights."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    bound_rows,
    lipschitz_bounds,
    small_margins,
    weight_pairs_above,
    worst_inputs,
)
from robustscape.theory.logistic import agreement_row, random_problem, worst_losses


def lemma_1(
    *,
    dimension: Annotated[int, Field(ge=2)] = 10,
    draws: Annotated[int, Field(ge=10)] = 10_000,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check ||dgrad l_eps|| <= C_tt ||dtheta|| + C_tx ||dx'|| on pairs of weights, however x' moves.

    So the loss is smooth wherever x' is Lipschitz. Liu et al. (2020), who assume nothing about x', have 2 C_tx times the
    Euclidean radius of the ball instead of C_tx ||dx'||, its largest value; weights of opposite signs close to 0 attain it. Both
    bounds are checked where they have little room. So is Danskin's theorem, that the gradient of l_eps is the one with x' held
    fixed.

    Args:
        dimension: number of weights.
        draws: number of random pairs of weights.
        eps: perturbation budget.
        seed: seed of the input and the weights.
    """
    problem = small_margins(dimension, eps, seed)
    x, y, _ = problem
    one, two = weight_pairs_above(draws, problem, seed)
    w = random_problem(dimension, 1, seed)
    rows = []
    for norm in ("L2", "Linf"):
        protocol = {"dimension": dimension, "draws": draws, "eps": eps, "norm": norm, "seed": seed}
        top = max(one.norm(dim=1).max().item(), two.norm(dim=1).max().item())
        c_tt, c_tx = lipschitz_bounds(x, eps, norm, top)
        radius = eps * (dimension**0.5 if norm == "Linf" else 1.0)
        opposite = 1e-3 * one
        shares = []
        for pair, most in (((one, two), None), ((opposite, -opposite), 2 * radius)):
            apart = (pair[0] - pair[1]).norm(dim=1)
            inputs = [worst_inputs(t, x, y, eps, norm) for t in pair]
            slopes = [adversarial_gradients(t, x, y, eps, norm) for t in pair]
            moved, change = (inputs[0] - inputs[1]).norm(dim=1), (slopes[0] - slopes[1]).norm(dim=1)
            bound = c_tt * apart + c_tx * (moved if most is None else most)
            shares.append((change / bound).max().item())
        autodiff = torch.func.grad(lambda v, norm=norm: worst_losses(v, w.x, w.y, eps, norm).mean())(w.w)
        held = adversarial_gradients(w.w[None], w.x[0], w.y.item(), eps, norm)[0]
        rows += [
            *bound_rows("lemma 1", "||dgrad|| over C_tt |dt| + C_tx |dx'|", shares[0], 0.85, **protocol),
            *bound_rows("proposition 1", "||dgrad|| over Liu et al.'s bound", shares[1], 0.85, **protocol),
            agreement_row("Danskin", "largest |x' held - autodiff|", held, autodiff, tolerance=1e-12, **protocol),
        ]
    return rows
