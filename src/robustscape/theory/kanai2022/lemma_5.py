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
    """Check the Jacobian of the worst input of l = x.B theta - x.A x/2 on ||x|| = eps, for A = 0 and for a curved loss.

    With the Lagrangian l - lambda (||x||^2 - eps^2)/2, d(lambda, x')/dtheta = -H^-1 [0; grad_theta grad_x l], where
    H = [[0, -x'^T], [-x', grad_x^2 l - lambda I]]. For A = 0, x' = eps B theta/||B theta|| and lambda = ||B theta||/eps: H's
    Jacobian is compared with that of the closed form, and its norm with the bound ||B||/c, where c is the least singular value of
    H. On a wide sphere (eps^2 at least 1.5 ||B theta||, where c is lambda) and for weights at a right angle to what B stretches
    most, the bound is attained. For a positive definite A, (A + lambda I) x' = B theta, lambda by bisection; H's Jacobian
    is compared with differences of that optimum: the block grad_x^2 l = -A counts there.

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
        jacobian = _implicit_jacobian(bordered, b)
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
        *_curved_rows(b, thetas, eps, generator, protocol),
    ]


def _curved_rows(
    b: Tensor, thetas: Tensor, eps: float, generator: torch.Generator, protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of l = x.B theta - x.A x/2 with a random positive definite A whose norm is ||B||/eps."""
    inputs, h = len(b), 1e-5
    root = torch.randn(inputs, inputs, generator=generator, dtype=b.dtype)
    a = root @ root.T / inputs + 0.1 * torch.eye(inputs, dtype=b.dtype)
    a = a * (torch.linalg.matrix_norm(b, 2) / (eps * torch.linalg.matrix_norm(a, 2)))
    # Far enough out for the optimum over all x to be beyond the sphere.
    thetas = thetas * (2 * eps / torch.linalg.solve(a, b @ thetas.T).norm(dim=0)).clamp_min(1.0)[:, None]
    worst, multipliers = worst_inputs_of_curved(a, thetas @ b.T, eps)
    steps = h * torch.eye(thetas.shape[1], dtype=b.dtype)
    moved = [worst_inputs_of_curved(a, (thetas + sign * step) @ b.T, eps)[0] for step in steps for sign in (1, -1)]
    found = torch.stack([(after - before) / (2 * h) for after, before in zip(moved[::2], moved[1::2], strict=True)], 2)
    bordered = torch.stack([bordered_hessian(-a, x, m) for x, m in zip(worst, multipliers, strict=True)])
    implied = torch.stack([_implicit_jacobian(one, b) for one in bordered])
    sizes = torch.linalg.matrix_norm(found, 2)
    wrong = ((implied - found).abs().amax((1, 2)) / sizes).max().item()
    others = torch.randn(200, inputs, generator=generator, dtype=b.dtype)
    others = eps * others / others.norm(dim=1, keepdim=True)
    losses = others @ b @ thetas.T - ((others @ a) * others).sum(1, keepdim=True) / 2
    best = (worst @ b * thetas).sum(1) - ((worst @ a) * worst).sum(1) / 2
    name = "lemma 5, curved loss"
    return [
        check_row(
            name,
            "largest excess of another point's loss",
            (losses - best).max().item(),
            "<=",
            0.0,
            tolerance=1e-9,
            **protocol,
        ),
        check_row(
            name,
            "largest |bordered Jacobian - differences|, relative to its norm",
            wrong,
            "==",
            0.0,
            tolerance=1e-6,
            **protocol,
        ),
    ]


def _implicit_jacobian(bordered: Tensor, b: Tensor) -> Tensor:
    """Return the lower block of -H^-1 [0; B], dx'/dtheta, (inputs, weights)."""
    return -torch.linalg.solve(bordered, torch.cat([torch.zeros(1, b.shape[1], dtype=b.dtype), b]))[1:]


def worst_inputs_of_curved(a: Tensor, pulls: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the maximisers of x.p - x.A x/2 on ||x|| = eps, (K, inputs), for pulls p (K, inputs), and their lambda > 0 (K,).

    (A + lambda I) x = p, with ||x|| falling in lambda; bisection in the eigenbasis of A, to rounding. The maximum over all x must
    lie beyond the sphere.
    """
    values, basis = torch.linalg.eigh(a)
    pulled = pulls @ basis
    high = pulls.norm(dim=1) / eps
    low = torch.zeros_like(high)
    for _ in range(100):
        middle = (low + high) / 2
        is_outside = (pulled / (values + middle[:, None])).norm(dim=1) > eps
        low, high = torch.where(is_outside, middle, low), torch.where(is_outside, high, middle)
    return (pulled / (values + high[:, None])) @ basis.T, high


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
