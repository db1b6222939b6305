"""kanai2022, lemma 3 and theorem 2: under Linf attacks, the worst input jumps where a weight changes sign, and only there."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.kanai2022._lipschitz import (
    adversarial_gradients,
    bound_rows,
    largest_ratio,
    lipschitz_bounds,
    small_margins,
    weight_pairs_above,
    worst_inputs,
)
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

    So its ratio to ||t1 - t2||, and that of the gradient, which jumps by 2 eps p (p: the sigmoid in the gradient), grow without
    bound as the weights approach each other across a sign. Within an orthant x' is constant and the loss is C_tt-smooth (theorem
    2), which is checked where the bound has little room: on the input x' whose entries all have the same size.

    Args:
        dimension: number of weights.
        draws: number of random weights.
        eps: perturbation budget.
        gap: pairs with one different sign have that weight at +gap and -gap times the least norm of weights considered.
        seed: seed of the input and the weights.
    """
    problem = small_margins(dimension, eps, seed)
    x, y, least = problem
    protocol = {"dimension": dimension, "draws": draws, "eps": eps, "gap": gap, "seed": seed}
    one, _ = weight_pairs_above(draws, problem, seed)
    other = one.roll(1, 0)
    near, nearer = (_across_a_sign(one, width * least) for width in (gap, gap / 10))
    jumps = [worst_inputs(a, x, y, eps, "Linf") - worst_inputs(b, x, y, eps, "Linf") for a, b in (near, nearer)]
    slopes = [[adversarial_gradients(t, x, y, eps, "Linf") for t in pair] for pair in (near, nearer)]
    kinks = [(a - b).norm(dim=1) for a, b in slopes]
    apart = [(a - b).norm(dim=1) for a, b in (near, nearer)]
    sizes = torch.sigmoid(-y * (near[0] * worst_inputs(near[0], x, y, eps, "Linf")).sum(1))
    far = worst_inputs(one, x, y, eps, "Linf") - worst_inputs(other, x, y, eps, "Linf")
    expected = 2 * eps * (one.sign() != other.sign()).sum(1).double().sqrt()

    # In an orthant, where x' is as long as it can be: x has entries of one size, and the attack adds to all of them.
    corner = x.norm() / dimension**0.5 * x.sign()
    inside = -y * corner.sign() * one.abs()
    longest = corner - eps * y * inside.sign()
    neighbour = inside + 0.5 * inside.abs().min(1, keepdim=True).values * longest / longest.norm()
    still = worst_inputs(inside, corner, y, eps, "Linf") - worst_inputs(neighbour, corner, y, eps, "Linf")
    bends = [adversarial_gradients(t, corner, y, eps, "Linf") for t in (inside, neighbour)]
    c_tt, _ = lipschitz_bounds(corner, eps, "Linf", 0.0)
    smooth = largest_ratio((bends[0], bends[1]), (inside, neighbour)) / c_tt
    return [
        check_row(
            "lemma 3",
            "largest | ||dx'|| - 2 eps sqrt(number of signs that differ)|",
            (far.norm(dim=1) - expected).abs().max().item(),
            "==",
            0.0,
            tolerance=1e-9 * eps,
            **protocol,
        ),
        check_row(
            "lemma 3",
            "least ||dx'|| across a sign over 2 eps",
            (jumps[0].norm(dim=1) / (2 * eps)).min().item(),
            ">=",
            1.0,
            tolerance=1e-9,
            **protocol,
        ),
        check_row(
            "lemma 3",
            "least growth of ||dx'|| / ||dtheta|| as the gap is a tenth",
            (jumps[1].norm(dim=1) / apart[1] / (jumps[0].norm(dim=1) / apart[0])).min().item(),
            "==",
            10.0,
            tolerance=1e-3,
            **protocol,
        ),
        check_row(
            "lemma 3",
            "largest | ||dgrad|| / (2 eps p) - 1 | across a sign",
            (kinks[0] / (2 * eps * sizes) - 1).abs().max().item(),
            "==",
            0.0,
            tolerance=1e-4,
            **protocol,
        ),
        check_row(
            "lemma 3",
            "least growth of ||dgrad|| / ||dtheta|| as the gap is a tenth",
            (kinks[1] / apart[1] / (kinks[0] / apart[0])).min().item(),
            "==",
            10.0,
            tolerance=1e-2,
            **protocol,
        ),
        check_row("lemma 3", "largest ||dx'|| in an orthant", still.norm(dim=1).max().item(), "==", 0.0, **protocol),
        *bound_rows("theorem 2", "||dgrad|| / ||dtheta|| in an orthant over C_tt", smooth, 0.95, **protocol),
    ]


def _across_a_sign(weights: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Return weights (K, d) with one entry of each at +gap, and the same with it at -gap; which entry goes round."""
    row = torch.arange(len(weights))
    above, below = weights.clone(), weights.clone()
    above[row, row % weights.shape[1]], below[row, row % weights.shape[1]] = gap, -gap
    return above, below
