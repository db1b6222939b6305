"""kanai2022, lemma 5: a worst input on the L2 sphere is smooth, too; the bordered Hessian gives its Jacobian."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.kanai2022._lipschitz import bound_rows
from robustscape.theory.logistic import largest_difference
from robustscape.theory.rows import check_row


def lemma_5(
    *,
    inputs: Annotated[int, Field(ge=2)] = 4,
    weights: Annotated[int, Field(ge=2)] = 3,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    draws: Annotated[int, Field(ge=1)] = 200,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check the Jacobian of the worst input of l = x.B theta on ||x|| = eps, x' = eps B theta/||B theta||.

    With the Lagrangian l - lambda (||x||^2 - eps^2)/2 and the multiplier lambda = ||B theta||/eps, d(lambda, x')/dtheta =
    -H^-1 [0; grad_theta grad_x l], where H = [[0, -x'^T], [-x', grad_x^2 l - lambda I]]. It is compared with the Jacobian of the
    closed form, and its norm with the bound ||B||/c, where c is the least singular value of H. On a wide sphere (eps^2 at least
    1.5 ||B theta||, where c is lambda) and for weights at a right angle to what B stretches most, the bound is attained.

    Args:
        inputs: dimension of x.
        weights: dimension of theta.
        eps: radius of the sphere.
        draws: number of random weights; those of the bounds are scaled to a wide sphere.
        seed: seed of B and the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(inputs, weights, generator=generator, dtype=torch.float64)
    thetas = torch.randn(draws, weights, generator=generator, dtype=torch.float64)
    protocol = {"inputs": inputs, "weights": weights, "eps": eps, "draws": draws, "seed": seed}
    across = torch.linalg.svd(b).Vh[1]
    thetas = torch.cat([thetas, across[None]])
    wide = thetas * (eps**2 / (1.5 * (thetas @ b.T).norm(dim=1, keepdim=True)))
    wrong, share, slack = 0.0, 0.0, -math.inf
    for theta in torch.cat([thetas, wide]):
        worst = _worst_input(b, theta, eps)
        exact = torch.func.jacrev(lambda t: _worst_input(b, t, eps))(theta)
        bordered = bordered_hessian(torch.zeros(inputs, inputs, dtype=b.dtype), worst, (b @ theta).norm() / eps)
        mixed = torch.cat([torch.zeros(1, weights, dtype=b.dtype), b])
        jacobian = -torch.linalg.solve(bordered, mixed)[1:]
        c = torch.linalg.svdvals(bordered)[-1]
        bound = torch.linalg.matrix_norm(b, 2) / c
        size = torch.linalg.matrix_norm(exact, 2)
        wrong = max(wrong, (largest_difference(jacobian, exact) / size).item())
        share = max(share, (size / bound).item())
        others = torch.randn(200, inputs, generator=generator, dtype=b.dtype)
        others = eps * others / others.norm(dim=1, keepdim=True)
        slack = max(slack, ((others - worst) @ b @ theta).max().item())
    return [
        check_row("lemma 5", "largest excess of another point's loss", slack, "<=", 0.0, tolerance=1e-12, **protocol),
        check_row(
            "lemma 5",
            "largest |bordered - closed Jacobian|, relative to its norm",
            wrong,
            "==",
            0.0,
            tolerance=1e-9,
            **protocol,
        ),
        *bound_rows("lemma 5", "||Jacobian|| over ||B||/c", share, 0.99, **protocol),
    ]


def _worst_input(b: Tensor, theta: Tensor, eps: float) -> Tensor:
    """Return x' = eps B theta/||B theta||, (inputs,)."""
    direction = b @ theta
    return eps * direction / direction.norm()


def bordered_hessian(curvature: Tensor, offset: Tensor, multiplier: Tensor) -> Tensor:
    """Return H = [[0, -d^T], [-d, grad_x^2 l - lambda I]] with the offset d = x' - x, (inputs + 1, inputs + 1)."""
    size = len(offset)
    matrix = torch.zeros(size + 1, size + 1, dtype=offset.dtype)
    matrix[0, 1:] = matrix[1:, 0] = -offset
    matrix[1:, 1:] = curvature - multiplier * torch.eye(size, dtype=offset.dtype)
    return matrix
