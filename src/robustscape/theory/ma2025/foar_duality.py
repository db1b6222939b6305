"""ma2025 equation 3.4: the maximum of the first-order expansion over a ball is eps times the dual norm of the gradient."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.rows import check_row

#: p -> q with 1/p + 1/q = 1.
DUAL = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}


def foar_duality(
    *,
    dimension: Annotated[int, Field(ge=2)] = 12,
    eps: Annotated[float, Field(gt=0)] = 0.1,
    draws: Annotated[int, Field(ge=10)] = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check max_{||delta||_p <= eps} g^T delta = eps ||g||_q for p = 1, 2 and infinity: one perturbation reaches it, none more.

    Args:
        dimension: d.
        eps: radius of the ball.
        draws: random gradients, each with as many random perturbations.
        seed: of both.
    """
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(draws, dimension, generator=generator, dtype=torch.float64)
    others = torch.randn(draws, dimension, generator=generator, dtype=torch.float64)
    rows = []
    for p in DUAL:
        maximum = first_order_maximum(g, eps, p)
        best = maximiser(g, eps, p)
        inside = others * eps / torch.linalg.vector_norm(others, ord=p, dim=1, keepdim=True)
        shared = {"p": "inf" if p == math.inf else str(int(p)), "dimension": dimension, "draws": draws}
        length = float(torch.linalg.vector_norm(best, ord=p, dim=1).max())
        reached = float(((g * best).sum(1) - maximum).abs().max())
        passed = float((g @ inside.T - maximum[:, None]).max())
        rows += [
            check_row(
                "reached in the ball", "largest norm of a maximiser", length, "<=", eps, tolerance=1e-12, **shared
            ),
            check_row("reached in the ball", "largest gap", reached, "==", 0.0, tolerance=1e-9, **shared),
            check_row("passed by none", "largest excess", passed, "<=", 0.0, tolerance=1e-9, **shared),
        ]
    return rows


def first_order_maximum(g: Tensor, eps: float, p: float) -> Tensor:
    """Return eps ||g||_q, (n,), of gradients (n, d)."""
    return eps * torch.linalg.vector_norm(g, ord=DUAL[p], dim=1)


def maximiser(g: Tensor, eps: float, p: float) -> Tensor:
    """Return the delta (n, d) of norm ``eps`` along which g^T delta is largest."""
    if p == math.inf:
        return eps * g.sign()
    if p == 2:
        return eps * g / g.norm(dim=1, keepdim=True)
    first = torch.nn.functional.one_hot(g.abs().argmax(1), g.shape[1]).to(g)
    return eps * first * g.sign()
