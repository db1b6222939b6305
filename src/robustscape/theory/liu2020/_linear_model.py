"""The K-class linear model of liu2020, section 2, under Linf attacks: good and bad directions, and the exact loss.

    g(x, W)     = log(1 + sum_{j != y} exp((w_j - w_y).x))
    g_eps(x, W) = max_{||x' - x||_inf <= eps} g(x', W), attained at a corner of the box, since g is convex in x'
    V_eps = {W: (w_i - w_y).x' <= 0 for all i and x' in the box}     (good: the loss vanishes along cW as c grows)
    T_eps = {W: 0 in argmin_c g_eps(x, cW)}                          (bad: no multiple of W is better than W = 0)

The class y is 0. Shapes: x (m,), W (n, K, m); everything is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def random_linear_model(inputs: int, classes: int, draws: int, seed: int) -> tuple[Array, Array]:
    """Return x ~ N(0, I), (m,), and ``draws`` matrices W ~ N(0, I), (n, K, m), from numpy's default generator."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal(inputs), generator.standard_normal((draws, classes, inputs))


def class_differences(weights: Array) -> Array:
    """Return w_j - w_y for all j != y, (n, K - 1, m)."""
    return weights[:, 1:] - weights[:, :1]


def is_good_direction(x: Array, weights: Array, eps: float) -> Mask:
    """Return True for each W in V_eps, (n,), by the dual norm: (w_i - w_y).x + eps ||w_i - w_y||_1 <= 0 for all i."""
    difference = class_differences(weights)
    return np.all(difference @ x + eps * np.abs(difference).sum(-1) <= 0, axis=1)


def is_bad_direction(x: Array, weights: Array, eps: float, *, half_line: bool = False) -> Mask:
    """Return True for each W in T_eps, (n,), from the one-sided derivatives of c -> g_eps(x, cW) at 0.

    With v = sum_{j != y} (w_j - w_y): |v.x| <= eps ||v||_1, or, where only c >= 0 is allowed, v.x + eps ||v||_1 >= 0.
    """
    v = class_differences(weights).sum(1)
    slope, room = v @ x, eps * np.abs(v).sum(-1)
    return slope + room >= 0 if half_line else np.abs(slope) <= room


def box_corners(x: Array, eps: float) -> Array:
    """Return the 2^m corners of the box of half-width eps around x, (2^m, m)."""
    bits = (np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1
    return x + eps * (2.0 * bits - 1.0)


def linear_model_losses(points: Array, weights: Array) -> Array:
    """Return g at points (P, m) for each W, in nats, (n, P)."""
    scores = class_differences(weights) @ points.T
    return np.logaddexp.reduce(np.concatenate([np.zeros_like(scores[:, :1]), scores], axis=1), axis=1)


def worst_corner_losses(x: Array, weights: Array, eps: float) -> Array:
    """Return g_eps for each W, exactly, as the largest loss at a corner, (n,). Cost: 2^m evaluations of g."""
    return linear_model_losses(box_corners(x, eps), weights).max(1)


def bad_by_search(x: Array, weights: Array, eps: float, steps: Array, *, half_line: bool = False) -> Mask:
    """Return True for each W in T_eps, (n,), by comparing g_eps at c = 0 with g_eps at c = +-steps."""
    origin = np.log(weights.shape[1])  # at W = 0 all classes are equally likely
    signs = (1.0,) if half_line else (1.0, -1.0)
    found = [worst_corner_losses(x, sign * step * weights, eps) for step in steps for sign in signs]
    return np.min(found, axis=0) >= origin - 1e-12
