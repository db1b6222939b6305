"""The over-parametrised linear model of ma2025 section 3.2: f_w(x) = <w, x>, w* = e_1, and only x_1 is random, N(1, 1).

Losses are 1/2 <x, w - w*>^2; arrays are float64, weights (..., d).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: E[X_1] and E[X_1^2] of N(1, 1).
FIRST_MOMENT, SECOND_MOMENT = 1.0, 2.0


def input_points() -> tuple[Array, Array]:
    """Return values of x_1 and their weights (n,), with which polynomials up to degree 9 have their exact means."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    return 1.0 + nodes, weights / weights.sum()


def true_weights(d: int) -> Array:
    """Return w* = (1, 0, ..., 0)."""
    return np.eye(1, d)[0]


def attack_direction(w: Array, eps: float) -> Array:
    """Return Delta x = (0, eps sign(w_2), ..., eps sign(w_d)), of the shape of ``w``."""
    step = eps * np.sign(w)
    step[..., 0] = 0.0
    return step


def point_loss(x: Array, w: Array) -> Array:
    """Return 1/2 <x, w - w*>^2 of inputs and weights (..., d)."""
    residual = ((w - true_weights(w.shape[-1])) * x).sum(-1)
    return np.asarray(0.5 * residual**2)


def population_loss(w: Array, shift: Array | None = None, points: tuple[Array, Array] | None = None) -> float:
    """Return E l(X + shift; w) for weights and a shift (d,), exactly; ``points``: of another X_1 than ``input_points``."""
    values, weights = input_points() if points is None else points
    inputs = np.zeros((len(values), len(w)))
    inputs[:, 0] = values
    return float(weights @ point_loss(inputs if shift is None else inputs + shift, w))


def population_gradient(w: Array) -> Array:
    """Return dL/dw: (w_1 - w*_1) E[X_1^2], and 0 in the dimensions without data (section 3.2, with the factor it drops)."""
    found = np.zeros_like(w)
    found[0] = (w[0] - 1.0) * SECOND_MOMENT
    return found


def expected_square_norm(d: int, sigma: float) -> float:
    """Return E ||W||_1^2 = d sigma^2 + d (d - 1) (2/pi) sigma^2 for W ~ N(0, sigma^2 I)."""
    return d * sigma**2 + d * (d - 1) * 2 / math.pi * sigma**2


def ridge_solution(penalty: float) -> float:
    """Return the first weight that ridge regression ends with; all others are 0."""
    return SECOND_MOMENT / (SECOND_MOMENT + penalty)


def lasso_solution(penalty: float) -> float:
    """Return the first weight that the lasso ends with; all others are 0."""
    return max(0.0, 1 - penalty / SECOND_MOMENT)


def robustified_loss(w: Array, eps: float, points: tuple[Array, Array] | None = None) -> float:
    """Return equation 3.2: L(w) + eps E[r(X; w)] ||w_{2:d}||_1 + eps^2/2 ||w_{2:d}||_1^2 (``points``: of X_1)."""
    norm = float(np.abs(w[1:]).sum())
    mean = FIRST_MOMENT if points is None else float(points[1] @ points[0])
    return population_loss(w, points=points) + eps * (w[0] - 1.0) * mean * norm + 0.5 * eps**2 * norm**2
