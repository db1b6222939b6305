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

#: Residuals below this number of units of rounding of the largest eigenvalue cannot be told from those of products.
ROUNDING = 64

#: Restarts at most: each finds one more eigenvector of a multiple eigenvalue. Their seeds are this far apart.
MOST_RESTARTS, RESTART_SEED = 64, 1_000_003


def random_sign_vectors(size: int, draws: int, seed: int, like: Tensor) -> Tensor:
    """Return random signs divided by sqrt(size): ``draws`` unit vectors (draws, size), the same on every device."""
    return torch.cat([_random_sign_vector(size, draw, seed, like) for draw in range(draws)])


def _random_sign_vector(size: int, draw: int, seed: int, like: Tensor) -> Tensor:
    return SampleGenerator.seeded(seed, torch.tensor([draw])).signs((size,)).to(like) * size**-0.5


class _Recursion:
    """The Lanczos recursion for K start vectors side by side, one step at a time."""

    def __init__(self, operator: Operator, start: Tensor, seed: int, locked: Tensor | None = None) -> None:
        self.operator, self.seed = operator, seed
        self.locked = start.new_zeros(0, start.shape[1]) if locked is None else locked
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
        column = _orthogonal_to(self.locked, vector)[:, :, None].clone()
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
    """||H u - lambda u|| / |lambda|, measured; an eigenvalue lies within residual x |lambda| of each value. Where |lambda| is so
    small that products hold only rounding of it, that rounding takes its place (``ROUNDING``)."""
    converged: Tensor
    """True if the residual is within the tolerance, bool (k,)."""
    products: int
    """Number of products with the operator that it took."""


def _order(values: Tensor, which: Literal["value", "magnitude"]) -> Tensor:
    return torch.argsort(values if which == "value" else values.abs(), descending=True)


def _reachable(values: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """The magnitudes that residuals are relative to: the values', but none below what rounding of products leaves to be seen."""
    return values.abs().clamp_min(ROUNDING * torch.finfo(dtype).eps * scale).clamp_min(torch.finfo(torch.float64).tiny)


def _checked(
    operator: Operator, values: Tensor, vectors: Tensor, scale: float, tolerance: float, products: int
) -> Eigenpairs:
    """Eigenpairs with their residuals measured, one product each."""
    rest = operator(vectors) - values.to(vectors)[:, None] * vectors
    residuals = torch.linalg.vector_norm(rest, dim=1).double().cpu() / _reachable(values, scale, vectors.dtype)
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
    """Return the ``top`` largest eigenvalues and their eigenvectors, by Lanczos with deflated restarts.

    A recursion from one start vector sees one eigenvector of a multiple eigenvalue, and may miss values that the start vector
    hardly contains. So it is started again, orthogonal to all eigenvectors found, until its largest value is none of the ``top``:
    a value that it finds among them is added, with its eigenvector, and pushes out the last one.

    A recursion stops when the estimated residuals of the pairs it is asked for are within half the tolerance, relative to the
    value itself; when the basis is complete; or at ``max_steps``. Eigenvalues are then in error by about residual^2 / gap. Cost:
    one product per step, and one per pair to measure the residuals; a restart needs few steps, as it only compares.

    Args:
        operator: products (K, P) -> (K, P); symmetric.
        size: P.
        top: number of eigenpairs.
        like: a tensor of the vectors' dtype and device.
        which: "value" for the largest, "magnitude" for the largest in absolute value.
        tolerance: residual, relative to the value, at which a pair counts as converged.
        max_steps: largest number of steps of a recursion, and of basis vectors.
        seed: of the start vectors.
    """
    top = min(top, size)
    values, vectors, scale, products = _recursion_pairs(
        operator, size, top, like, like.new_zeros(0, size), which, tolerance, max_steps, seed, None
    )
    for restart in range(1, MOST_RESTARTS + 1):
        if products >= size and restart == 1:
            break  # the basis is complete: nothing can be missing
        # Only what is needed to say whether a value is missing: the last of those found, or none while some are lacking.
        last = values[_order(values, which)][:top][-1].item() if len(values) >= top else None
        more, found, _, spent = _recursion_pairs(
            operator, size, top, like, vectors, which, tolerance, max_steps, seed + RESTART_SEED * restart, last
        )
        products += spent
        weight = more if which == "value" else more.abs()
        if last is not None:
            bar = last if which == "value" else abs(last)
            chosen = weight > bar + 1e-12 * abs(bar)
            more, found = more[chosen], found[chosen.to(found.device)]
        if not len(more):
            break
        values, vectors = torch.cat([values, more]), torch.cat([vectors, found])
    chosen = _order(values, which)[:top]
    return _checked(operator, values[chosen], vectors[chosen.to(vectors.device)], scale, tolerance, products)


def _recursion_pairs(
    operator: Operator,
    size: int,
    top: int,
    like: Tensor,
    locked: Tensor,
    which: Literal["value", "magnitude"],
    tolerance: float,
    max_steps: int,
    seed: int,
    last: float | None,
) -> tuple[Tensor, Tensor, float, int]:
    """Return the eigenvalues (k,) and eigenvectors (k, P) that a recursion orthogonal to ``locked`` (m, P) finds.

    Also returned: the largest magnitude seen, and the number of products. If ``last`` is given, only values beyond it are of
    interest: the recursion stops as soon as its largest one is known to be none.
    """
    steps = min(max_steps, size - len(locked))
    if len(
        locked
    ):  # random signs may be orthogonal to what is left of an eigenspace, and are where two of them are equal
        start = _orthogonal_to(locked, SampleGenerator.seeded(seed, 1).normal((size,)).to(like))
    else:
        start = random_sign_vectors(size, 1, seed, like)

    def deflated(rows: Tensor) -> Tensor:
        return _orthogonal_to(locked, operator(rows))

    recursion = _Recursion(deflated if len(locked) else operator, start, seed, locked)
    for step in range(1, steps + 1):
        recursion.step()
        if step < min(top + 2, steps) or (step % 5 and step != steps):
            continue  # T is decomposed and copied to the host every few steps only
        values, vectors = (part[0] for part in recursion.tridiagonal())
        chosen = _order(values, which)[:top]
        scale = values.abs().max().item()
        estimates = recursion.betas[-1].double().cpu() * vectors[-1, chosen].abs()
        if recursion.betas[-1].item() == 0 and step != steps:
            continue  # an invariant subspace: the recursion goes on in a new direction
        settled = estimates <= 0.5 * tolerance * _reachable(values[chosen], scale, like.dtype)
        if last is None:
            if len(chosen) == top and settled.all():
                break
            continue
        beyond = _beyond(values[chosen], last, which)
        # Those beyond the last one must settle; if there is none, the largest must be known not to become one.
        if (
            settled[beyond].all()
            if beyond.any()
            else bool(settled[0]) or _below(values[chosen[0]], estimates[0], last, which)
        ):
            break
    basis = recursion.basis()[0]
    if last is not None:
        chosen = chosen[_beyond(values[chosen], last, which)]
    ritz = vectors[:, chosen].T.to(basis) @ basis
    ritz = ritz / torch.linalg.vector_norm(ritz, dim=1, keepdim=True)
    return values[chosen], ritz, scale, step


def _beyond(values: Tensor, last: float, which: Literal["value", "magnitude"]) -> Tensor:
    """The values that are larger than ``last``, by more than rounding."""
    margin = 1e-6 * abs(last)
    return values > last + margin if which == "value" else values.abs() > abs(last) + margin


def _below(value: Tensor, error: Tensor, last: float, which: Literal["value", "magnitude"]) -> bool:
    """Whether the eigenvalue near ``value``, within ``error``, is not larger than ``last``."""
    return bool(value + error <= last if which == "value" else value.abs() + error <= abs(last))


def _orthogonal_to(locked: Tensor, rows: Tensor) -> Tensor:
    """``rows`` (K, P) without their components along the orthonormal ``locked`` (m, P)."""
    for _ in range(2 if len(locked) else 0):
        rows = rows - (rows @ locked.T) @ locked
    return rows


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
