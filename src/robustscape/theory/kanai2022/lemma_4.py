"""kanai2022, lemma 4: a worst input inside the ball is smooth in the weights, less so where the loss is flat in x."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

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
    and C_tx = ||B||. Both constants grow as c falls: the flatter the loss is in x, the less smooth it is in theta.

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
        draw = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(draw).Q
        a = basis @ torch.diag(torch.linspace(c, max(2.0, c), inputs, dtype=torch.float64)) @ basis.T
        b = torch.randn(inputs, weights, generator=generator, dtype=torch.float64)
        theta = torch.randn(draws, weights, generator=generator, dtype=torch.float64)
        other = theta + 0.1 * torch.randn(draws, weights, generator=generator, dtype=torch.float64)
        protocol = {"inputs": inputs, "weights": weights, "curvature": c, "draws": draws, "seed": seed}

        def loss(x: Tensor, t: Tensor, a: Tensor = a, b: Tensor = b) -> Tensor:
            return -x @ a @ x / 2 + x @ b @ t

        worst = torch.linalg.solve(a, b)
        start = worst @ theta[0]
        jacobian = implicit_jacobian(loss, start, theta[0])
        found = maximise_by_ascent(loss, theta[0], inputs, round(50 / c))
        bound = torch.linalg.matrix_norm(b, 2).item()
        moved = (worst @ (theta - other).T).norm(dim=0) / (theta - other).norm(dim=1)
        slope = ((b.T @ worst) @ (theta - other).T).norm(dim=0) / (theta - other).norm(dim=1)
        norms.append(torch.linalg.matrix_norm(jacobian, 2).item())
        rows += [
            agreement_row("lemma 4", "largest |ascent - A^-1 B theta|", found, start, tolerance=1e-6, **protocol),
            agreement_row("lemma 4", "largest |Jacobian - A^-1 B|", jacobian, worst, tolerance=1e-10, **protocol),
            check_row("lemma 4", "norm of the Jacobian", norms[-1], "<=", bound / c, tolerance=1e-9, **protocol),
            check_row(
                "lemma 4",
                "largest ||dx'|| / ||dtheta||",
                moved.max().item(),
                "<=",
                bound / c,
                tolerance=1e-9,
                **protocol,
            ),
            check_row(
                "smoothness",
                "largest ||dgrad|| / ||dtheta||",
                slope.max().item(),
                "<=",
                bound**2 / c,
                tolerance=1e-9,
                **protocol,
            ),
        ]
    return rows + [
        check_row(
            "flat in x, rough in theta", "rise of the Jacobian's norm as c falls", after - before, ">", 0.0, seed=seed
        )
        for before, after in pairwise(norms)
    ]


def implicit_jacobian(loss: Any, x: Tensor, theta: Tensor) -> Tensor:
    """Return -(grad_x^2 l)^-1 grad_theta grad_x l at (x, theta), by automatic differentiation, (inputs, weights)."""
    curvature = torch.func.hessian(loss, argnums=0)(x, theta)
    mixed = torch.func.jacrev(torch.func.grad(loss, argnums=0), argnums=1)(x, theta)
    return -torch.linalg.solve(curvature, mixed)


def maximise_by_ascent(loss: Any, theta: Tensor, inputs: int, rounds: int) -> Tensor:
    """Return the maximiser over x, (inputs,), by gradient ascent from 0; a step shrinks the error by 1 - 0.4 c or more."""
    x = torch.zeros(inputs, dtype=theta.dtype)
    slope = torch.func.grad(loss)
    for _ in range(rounds):
        x = x + 0.4 * slope(x, theta)
    return x
