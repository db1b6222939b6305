"""kanai2022, lemma 4: a worst input inside the ball is smooth in the weights, less so where the loss is flat in x."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.kanai2022._lipschitz import bound_rows, largest_ratio
from robustscape.theory.logistic import agreement_row
from robustscape.theory.rows import check_row


def lemma_4(
    *,
    inputs: Annotated[int, Field(ge=2)] = 4,
    weights: Annotated[int, Field(ge=1)] = 3,
    curvatures: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)] = (1.0, 0.3, 0.1),
    draws: Annotated[int, Field(ge=10)] = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check dx'/dtheta = -(grad_x^2 l)^-1 grad_theta grad_x l on l = -x.A x/2 + x.B theta, whose worst input is A^-1 B theta.

    With c the least eigenvalue of A, ||dx'/dtheta|| <= ||B||/c, and the loss at x' is (C_tt + C_tx^2/c)-smooth with C_tt = 0
    and C_tx = ||B||. B moves x' most along the direction in which the loss is flattest, so that both bounds are attained: half of
    one would not do. They grow as 1/c: the flatter the loss is in x, the less smooth it is in theta. Worst inputs are found by
    gradient ascent, and the gradient of the loss by automatic differentiation there.

    Args:
        inputs: dimension of x.
        weights: dimension of theta.
        curvatures: least eigenvalues c of A, descending; the others lie between c and 2.
        draws: number of random pairs of weights.
        seed: seed of A, B and the weights.
    """
    rows, norms = [], []
    for c in curvatures:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, generator: torch.Generator = generator) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        basis = torch.linalg.qr(draw(inputs, inputs)).Q
        a = basis @ torch.diag(torch.linspace(c, max(2.0, c), inputs, dtype=torch.float64)) @ basis.T
        rank = min(inputs, weights)
        sizes = torch.linspace(2.0, 1.0, rank, dtype=torch.float64)
        strongest = torch.linalg.qr(draw(weights, rank)).Q
        b = basis[:, :rank] @ torch.diag(sizes) @ strongest.T
        theta = draw(draws, weights)
        other = theta + torch.cat([0.1 * draw(draws - 1, weights), 0.1 * strongest[:, 0][None]])
        protocol = {"inputs": inputs, "weights": weights, "curvature": c, "draws": draws, "seed": seed}

        def loss(x: Tensor, t: Tensor, a: Tensor = a, b: Tensor = b) -> Tensor:
            return -(x @ a * x).sum(-1) / 2 + (x @ b * t).sum(-1)

        worst = torch.linalg.solve(a, b)
        jacobian = implicit_jacobian(loss, worst @ theta[0], theta[0])
        found, further = (maximise_by_ascent(loss, t, inputs, round(70 / c)) for t in (theta, other))
        slopes = [weight_gradients(loss, x, t) for x, t in ((found, theta), (further, other))]
        bound = torch.linalg.matrix_norm(b, 2).item()
        moved = largest_ratio((found, further), (theta, other)) / (bound / c)
        bent = largest_ratio((slopes[0], slopes[1]), (theta, other)) / (bound**2 / c)
        norms.append(torch.linalg.matrix_norm(jacobian, 2).item())
        exact = theta @ worst.T
        rows += [
            agreement_row("lemma 4", "largest |ascent - A^-1 B theta|", found, exact, tolerance=1e-6, **protocol),
            agreement_row("lemma 4", "largest |Jacobian - A^-1 B|", jacobian, worst, tolerance=1e-10, **protocol),
            *bound_rows("lemma 4", "norm of the Jacobian over ||B||/c", norms[-1] / (bound / c), 0.99, **protocol),
            *bound_rows("lemma 4", "||dx'|| / ||dtheta|| over ||B||/c", moved, 0.99, **protocol),
            *bound_rows("smoothness", "||dgrad|| / ||dtheta|| over ||B||^2/c", bent, 0.99, **protocol),
        ]
    steps = zip(pairwise(norms), pairwise(curvatures), strict=True)
    return rows + [
        check_row(
            "flat in x, rough in theta",
            "growth of the Jacobian's norm as c falls, over that of 1/c",
            (after / before) / (c_before / c_after),
            "==",
            1.0,
            tolerance=1e-6,
            curvature=c_after,
            seed=seed,
        )
        for (before, after), (c_before, c_after) in steps
    ]


def implicit_jacobian(loss: Any, x: Tensor, theta: Tensor) -> Tensor:
    """Return -(grad_x^2 l)^-1 grad_theta grad_x l at (x, theta), by automatic differentiation, (inputs, weights)."""
    curvature = torch.func.hessian(loss, argnums=0)(x, theta)
    mixed = torch.func.jacrev(torch.func.grad(loss, argnums=0), argnums=1)(x, theta)
    return -torch.linalg.solve(curvature, mixed)


def maximise_by_ascent(loss: Any, thetas: Tensor, inputs: int, rounds: int) -> Tensor:
    """Return the maximisers over x, (K, inputs), for weights (K, weights), by gradient ascent from 0.

    A step shrinks the error by 1 - 0.4 c or more.
    """
    x = torch.zeros(len(thetas), inputs, dtype=thetas.dtype, requires_grad=True)
    for _ in range(rounds):
        (slope,) = torch.autograd.grad(loss(x, thetas).sum(), x)
        x = (x + 0.4 * slope).detach().requires_grad_()
    return x.detach()


def weight_gradients(loss: Any, x: Tensor, thetas: Tensor) -> Tensor:
    """Return grad_theta l (K, weights) at inputs (K, inputs), held fixed, and weights (K, weights)."""
    thetas = thetas.detach().requires_grad_()
    return torch.autograd.grad(loss(x, thetas).sum(), thetas)[0]
