"""ma2025 section 3.3.2: ||Hz|| is close to its mean, so that one direction z is enough."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustscape.theory.ma2025.soar_bound import augmented, product_norms, random_problem
from robustscape.theory.rows import check_row

Array = NDArray[np.float64]


def concentration(
    *,
    dimension: Annotated[int, Field(ge=2)] = 20,
    matrices: Annotated[int, Field(ge=1)] = 5,
    draws: Annotated[int, Field(ge=100)] = 100_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check P( | ||Hz|| - E||Hz|| | > t ) <= 2 exp(-t^2 / (2 ||H||_2^2)) for Gaussian z, at t = 1, 2, 3 times ||H||_2.

    The work prints a constant c without a value, and cites a theorem that is centred at ||H||_F; 1/2 is that of Gaussian
    concentration, because z -> ||Hz|| is ||H||_2-Lipschitz, which is checked too and reached along the first singular vector. The
    bound says something: at 3 ||H||_2 it is below 3 %.

    Args:
        dimension: d.
        matrices: number of random H.
        draws: of z.
        seed: of both.
    """
    generator = np.random.default_rng(seed)
    excess, steepest, along = dict.fromkeys((1, 2, 3), -math.inf), 0.0, math.inf
    for _ in range(matrices):
        matrix = augmented(*random_problem(dimension, generator))
        spectral = float(np.linalg.norm(matrix, 2))
        z = generator.standard_normal((draws, len(matrix)))
        norms = product_norms(matrix, z)
        away = np.abs(norms - norms.mean()) / spectral
        for multiple in excess:
            share = float((away > multiple).mean())
            error = 4 * math.sqrt(max(share * (1 - share), 1 / draws) / draws)
            excess[multiple] = max(excess[multiple], share - error - tail_bound(multiple * spectral, spectral))
        step = z[1:] - z[:-1]
        steepest = max(steepest, float((np.abs(np.diff(norms)) / np.linalg.norm(step, axis=1)).max()) / spectral)
        top = np.linalg.svd(matrix)[0][:, 0]
        ends = product_norms(matrix, np.stack([top, 2 * top]))
        along = min(along, float(ends[1] - ends[0]) / spectral)
    protocol = {"dimension": dimension, "matrices": matrices, "draws": draws}
    return [
        *(
            check_row("concentration", f"share beyond {multiple} ||H||_2 less its bound", value, "<=", 0.0, **protocol)
            for multiple, value in excess.items()
        ),
        check_row("the bound itself (arithmetic)", "at 3 ||H||_2", tail_bound(3.0, 1.0), "<=", 0.03, **protocol),
        check_row("Lipschitz", "largest slope over ||H||_2", steepest, "<=", 1.0, tolerance=1e-9, **protocol),
        check_row("Lipschitz constant is reached", "slope over ||H||_2", along, "==", 1.0, tolerance=1e-9, **protocol),
    ]


def tail_bound(distance: float, spectral: float) -> float:
    """Return 2 exp(-t^2 / (2 ||H||_2^2))."""
    return 2 * math.exp(-(distance**2) / (2 * spectral**2))
