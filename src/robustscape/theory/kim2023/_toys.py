"""Losses of two weights with their derivatives, and gradient descent and SAM on them, in float64 (kim2023, section 4.3).

A point is two Python floats, since a path is thousands of sequential steps, for which arrays of two numbers are slow. The
losses and gradients take arrays as well, to draw them.

SAM steps along the gradient at w^p, for which there are two rules: "constant" w + rho grad l(w) (eq 4.5, used by theorems 4.2
and 4.3) and "normalised" w + rho grad l(w) / ||grad l(w)|| (eq 5.4, used in training).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float]
Gradient = Callable[[Any, Any], tuple[Any, Any]]
Rule = Literal["normalised", "constant"]

#: Saddle of Beale's function, with the Hessian [[0, 27.75], [27.75, 0]], and its minimum, where it is 0.
BEALE_SADDLE: Point = (0.0, 1.0)
BEALE_MINIMUM: Point = (3.0, 0.5)


def beale(x: Any, y: Any) -> Any:
    """Return Beale's function (1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2, elementwise."""
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def beale_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    """Return both partial derivatives, elementwise."""
    y2, y3 = y * y, y * y * y
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y2, 2.625 - x + x * y3
    return 2 * (a * (y - 1) + b * (y2 - 1) + c * (y3 - 1)), 2 * x * (a + 2 * b * y + 3 * c * y2)


def beale_hessian(x: Any, y: Any) -> Array:
    """Return the Hessians, (..., 2, 2): 2 sum_k (J_k J_k^T + f_k hess f_k) over the three squared terms f_k."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    terms = (1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3)
    xx = sum((y**k - 1) ** 2 for k in (1, 2, 3))
    xy = sum((y**k - 1) * k * x * y ** (k - 1) + f * k * y ** (k - 1) for k, f in zip((1, 2, 3), terms, strict=True))
    yy = sum((k * x * y ** (k - 1)) ** 2 + f * k * (k - 1) * x * y ** max(k - 2, 0) for k, f in enumerate(terms, 1))
    return 2 * np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def quadratic(x: Any, y: Any) -> Any:
    """Return x^2 - y^2, elementwise: a saddle at the origin with eigenvalues 2 and -2."""
    return x**2 - y**2


def quadratic_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    """Return both partial derivatives, elementwise."""
    return 2 * x, -2 * y


def double_well(x: Any, y: Any) -> Any:
    """Return (x^2 - 1)^2 / 4 + y^2 / 2, elementwise: minima at (-1, 0) and (1, 0), a saddle at 0 with eigenvalues -1 and 1."""
    return (x**2 - 1) ** 2 / 4 + y**2 / 2


def double_well_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    """Return both partial derivatives, elementwise."""
    return x**3 - x, y


def perturbed_point(gradient: Gradient, point: Point, radius: float, rule: Rule) -> Point:
    """Return the perturbed point w^p; w itself where the gradient is 0."""
    across, up = gradient(*point)
    length = radius if rule == "constant" else radius / (math.hypot(across, up) or math.inf)
    return point[0] + length * across, point[1] + length * up


class Path(NamedTuple):
    """Weights (T + 1, 2) and, for each of them, the perturbed weights w^p (T + 1, 2) at which the next gradient is taken."""

    weights: Array
    perturbed: Array


def sam_path(
    gradient: Gradient,
    start: Point,
    *,
    eta: float,
    steps: int,
    radius: float = 0.0,
    rule: Rule = "normalised",
    within: float = 1e6,
) -> Path:
    """Return the path of SAM from ``start``, w <- w - eta grad l(w^p); radius 0 is gradient descent.

    The path ends early when a coordinate leaves (-within, within). Cost: two gradients per step.
    """
    x, y = start
    weights, perturbed = [], []
    for _ in range(steps + 1):
        above = perturbed_point(gradient, (x, y), radius, rule)
        weights.append((x, y))
        perturbed.append(above)
        if not (abs(x) < within and abs(y) < within):
            break
        across, up = gradient(*above)
        x, y = x - eta * across, y - eta * up
    return Path(np.array(weights), np.array(perturbed))


def gradient_flow_line(
    gradient: Gradient, start: Point, *, backward: bool, step: float = 0.01, length: float = 8.0
) -> Array:
    """Return the solution of dw/dt = -grad l(w) through ``start``, at points of equal distance, (n, 2).

    It is integrated by the fourth-order Runge-Kutta method on the normalised field. Started next to a saddle on the eigenvector
    of the positive eigenvalue and followed backward, it is the stable manifold; on that of the negative eigenvalue and followed
    forward, it is the unstable manifold.
    """
    sign = 1.0 if backward else -1.0

    def unit(point: Array) -> Array:
        across, up = gradient(point[0], point[1])
        size = math.hypot(across, up)
        return sign * np.array([across, up]) / size if size > 1e-9 else np.zeros(2)

    point, line = np.array(start, float), [np.array(start, float)]
    for _ in range(int(length / step)):
        a = unit(point)
        b = unit(point + step / 2 * a)
        c = unit(point + step / 2 * b)
        d = unit(point + step * c)
        point = point + step / 6 * (a + 2 * b + 2 * c + d)
        line.append(point)
    return np.array(line)


def gradients_at(gradient: Gradient, points: Array) -> Array:
    """Return the gradients at points (n, 2), (n, 2)."""
    return np.stack(gradient(points[:, 0], points[:, 1]), axis=1)


def row_cosines(a: Array, b: Array) -> Array:
    """Return the cosine of the angle between the rows of two (n, 2) arrays, (n,); 0 where one of them vanishes."""
    lengths = np.hypot(a[:, 0], a[:, 1]) * np.hypot(b[:, 0], b[:, 1])
    products: Array = np.divide((a * b).sum(1), lengths, out=np.zeros(len(a)), where=lengths > 0)
    return products


def count_sign_changes(values: Array) -> int:
    """Return the number of neighbouring pairs of values with different signs."""
    return int(np.count_nonzero(np.diff(np.sign(values)) != 0))
