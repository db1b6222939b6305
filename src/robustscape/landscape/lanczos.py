"""Eigenvalues of a symmetric operator that is given by its products only.

An operator is a function from vectors (K, P) to its products with each of them, (K, P). Lanczos (1950) builds from a
start vector an orthonormal basis Q in which the operator is a small tridiagonal matrix T; T's extreme eigenvalues
converge to the operator's first, and T's eigenvalues with the squared first components of its eigenvectors are the
Gauss quadrature of the operator's spectrum as the start vector sees it (Golub & Meurant 1994). Every new basis vector
is orthogonalised against all earlier ones, twice; otherwise rounding makes copies of converged eigenvalues appear.

Memory: the basis, steps x K x P numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator

Operator = Callable[[Tensor], Tensor]

#: Number of basis vectors that are allocated, and orthogonalised against, at a time.
BLOCK = 16


def random_sign_vectors(size: int, draws: int, seed: int, like: Tensor) -> Tensor:
    """Return random signs divided by sqrt(size): ``draws`` unit vectors (draws, size), the same on every device."""
    return torch.cat([_random_sign_vector(size, draw, seed, like) for draw in range(draws)])


def _random_sign_vector(size: int, draw: int, seed: int, like: Tensor) -> Tensor:
    return SampleGenerator.seeded(seed, torch.tensor([draw])).signs((size,)).to(like) * size**-0.5


class _Recursion:
    """The Lanczos recursion for K start vectors side by side, one step at a time."""

    def __init__(self, operator: Operator, start: Tensor, seed: int) -> None:
        self.operator, self.seed = operator, seed
        self.alphas: list[Tensor] = []
        self.betas: list[Tensor] = []  # betas[j] couples basis vectors j and j + 1
        self.blocks: list[Tensor] = []  # the basis: (K, BLOCK, P) each, so that it grows without being copied
        self.filled = 0
        self.last = self._append(start)

    def _append(self, vector: Tensor) -> Tensor:
        """Normalise ``vector`` (K, P) and add it to the basis; zero stays zero."""
        norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        if self.filled % BLOCK == 0:
            self.blocks.append(vector.new_zeros(vector.shape[0], BLOCK, vector.shape[1]))
        row = self.blocks[-1][:, self.filled % BLOCK]
        torch.div(vector, norm.clamp_min(torch.finfo(norm.dtype).tiny), out=row)
        self.filled += 1
        return row

    def _orthogonalise(self, vector: Tensor) -> Tensor:
        """``vector`` (K, P) without its components along the basis."""
        column = vector[:, :, None].clone()
        for _ in range(2):
            for block in self.blocks:  # rows not yet filled are zero
                column -= block.transpose(1, 2) @ (block @ column)
        return column[:, :, 0]

    def step(self) -> None:
        """Extend T by one row and the basis by one vector. Cost: one product."""
        product = self.operator(self.last)
        self.alphas.append((product * self.last).sum(1))
        scale = torch.linalg.vector_norm(product, dim=1)
        rest = self._orthogonalise(product)
        beta = torch.linalg.vector_norm(rest, dim=1)
        # If the basis spans an invariant subspace, the rest is rounding error. Continue in a new direction, uncoupled: that
        # finds the other eigenvectors of a multiple eigenvalue, and eigenvectors orthogonal to the start vector.
        closed = beta <= 10 * torch.finfo(beta.dtype).eps * scale
        if closed.any():
            draws, size = self.last.shape
            fresh = self._orthogonalise(random_sign_vectors(size, draws, self.seed + self.filled, self.last))
            rest = torch.where(closed[:, None], fresh, rest)
        self.betas.append(torch.where(closed, torch.zeros_like(beta), beta))
        self.last = self._append(rest)

    def basis(self) -> Tensor:
        """Return the basis vectors of T's rows, (K, m, P)."""
        return torch.cat(self.blocks, dim=1)[:, : len(self.alphas)]

    def tridiagonal(self) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues (K, m), ascending, and eigenvectors (K, m, m) of T, float64 on the CPU."""
        diagonal = torch.stack(self.alphas, dim=1).double().cpu()
        matrix = torch.diag_embed(diagonal)
        if len(self.alphas) > 1:
            off = torch.stack(self.betas[:-1], dim=1).double().cpu()
            matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues in descending order (of value or magnitude), with bounds on their errors."""

    values: Tensor
    """(k,), float64, CPU."""
    vectors: Tensor
    """(k, P), unit rows, on the operator's device."""
    residuals: Tensor
    """||H u - lambda u|| / max |lambda|, measured; an eigenvalue lies within residual x max |lambda| of each value."""
    converged: Tensor
    """True if the residual is within the tolerance, bool (k,)."""
    products: int
    """Number of products with the operator that it took."""


def _order(values: Tensor, which: Literal["value", "magnitude"]) -> Tensor:
    return torch.argsort(values if which == "value" else values.abs(), descending=True)


def _checked(
    operator: Operator, values: Tensor, vectors: Tensor, scale: float, tolerance: float, products: int
) -> Eigenpairs:
    """Eigenpairs with their residuals measured, one product each."""
    rest = operator(vectors) - values.to(vectors)[:, None] * vectors
    residuals = torch.linalg.vector_norm(rest, dim=1).double().cpu() / max(scale, torch.finfo(torch.float64).tiny)
    return Eigenpairs(values, vectors, residuals, residuals <= tolerance, products + len(values))


def top_eigenpairs(
    operator: Operator,
    size: int,
    top: int,
    like: Tensor,
    *,
    which: Literal["value", "magnitude"] = "value",
    tolerance: float = 1e-3,
    max_steps: int = 200,
    seed: int = 0,
) -> Eigenpairs:
    """Return the ``top`` largest eigenvalues and their eigenvectors, by Lanczos.

    Stops when the wanted pairs' estimated residuals are within half the tolerance (relative to the largest
    magnitude), at ``max_steps``, or when the basis is complete; eigenvalues are then in error by about residual^2 /
    gap. Cost: one product per step, and one per pair to measure the residuals.

    Args:
        operator: products (K, P) -> (K, P); symmetric.
        size: P.
        top: number of eigenpairs.
        like: a tensor of the vectors' dtype and device.
        which: "value" for the largest, "magnitude" for the largest in absolute value.
        tolerance: relative residual at which a pair counts as converged.
        max_steps: largest number of steps, and of basis vectors.
        seed: of the start vector.
    """
    top, max_steps = min(top, size), min(max_steps, size)
    recursion = _Recursion(operator, random_sign_vectors(size, 1, seed, like), seed)
    for step in range(1, max_steps + 1):
        recursion.step()
        if step < min(top + 2, max_steps) or (step % 5 and step != max_steps):
            continue  # T is decomposed and copied to the host every few steps only
        values, vectors = (part[0] for part in recursion.tridiagonal())
        chosen = _order(values, which)[:top]
        scale = values.abs().max().item()
        estimates = recursion.betas[-1].double().cpu() * vectors[-1, chosen].abs()
        if len(chosen) == top and (estimates <= 0.5 * tolerance * scale).all() and recursion.betas[-1].item() > 0:
            break
    basis = recursion.basis()[0]
    ritz = vectors[:, chosen].T.to(basis) @ basis
    ritz = ritz / torch.linalg.vector_norm(ritz, dim=1, keepdim=True)
    return _checked(operator, values[chosen], ritz, scale, tolerance, step)


def dense_eigenpairs(
    operator: Operator,
    size: int,
    top: int,
    like: Tensor,
    *,
    which: Literal["value", "magnitude"] = "value",
    tolerance: float = 1e-3,
) -> Eigenpairs:
    """Return the same as ``top_eigenpairs``, exactly, from the full matrix. Cost: P products and an eigendecomposition."""
    values, vectors = torch.linalg.eigh(dense_matrix(operator, size, like).double())
    chosen = _order(values, which)[:top]
    scale = values.abs().max().item()
    return _checked(operator, values[chosen].cpu(), vectors[:, chosen].T.to(like), scale, tolerance, size)


def dense_matrix(operator: Operator, size: int, like: Tensor, block: int = 64) -> Tensor:
    """Return the operator's matrix (P, P), made symmetric; ``block`` products at a time."""
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    matrix = torch.cat([operator(rows) for rows in identity.split(block)])
    return (matrix + matrix.T) / 2


def lanczos_quadrature(
    operator: Operator, size: int, steps: int, draws: int, like: Tensor, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return nodes and weights, each (draws, steps), of stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).

    For every function f, size * sum(weights * f(nodes)) of one draw estimates trace f(H), and is v'Hv for f(t) = t with
    v the draw's random signs. The weights are the squared first components of T's eigenvectors; each row sums to 1.
    """
    recursion = _Recursion(operator, random_sign_vectors(size, draws, seed, like), seed)
    for _ in range(min(steps, size)):
        recursion.step()
    values, vectors = recursion.tridiagonal()
    return values, vectors[:, 0, :] ** 2


def spectral_density(nodes: Tensor, weights: Tensor, grid: Tensor, width: float) -> Tensor:
    """Return the spectral density on ``grid`` (G,): the mean over draws of sum_i weights_i N(grid; nodes_i, width^2)."""
    z = (grid[:, None, None] - nodes) / width
    bumps = torch.exp(-0.5 * z**2) / (width * (2 * torch.pi) ** 0.5)
    return (bumps * weights).sum(2).mean(1)


def hutchinson(operator: Operator, size: int, draws: int, like: Tensor, seed: int = 0) -> Tensor:
    """Return v'Hv for ``draws`` vectors v of random signs, (draws,) float64; each estimates the trace (Hutchinson 1990)."""
    vectors = (_random_sign_vector(size, draw, seed, like) for draw in range(draws))
    return torch.stack([(operator(v) * v).double().sum() * size for v in vectors]).cpu()
