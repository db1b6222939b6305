"""The Entropy-SGD objective of a loss over two weights by quadrature (kanai2022, section 2.2), and a measure of kinks.

    F(theta) = -log INT exp( -L(t) - gamma/2 ||theta - t||^2 ) dt,    dF = gamma (theta - E[t]),   d2F = gamma I - gamma^2 Cov[t]

The Gaussian factorises over the two coordinates, so the double integrals at all nodes of a window are two matrix products.
Gauss-Legendre quadrature is used in panels that meet at 0, where the losses of the work have their kinks, up to ``MARGIN``
standard deviations beyond the window; the smallest L is subtracted in the exponent (log-sum-exp). Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Loss at pairs of weights: arrays theta_1 and theta_2, broadcast together -> their common shape.
Loss = Callable[[Array, Array], Array]

#: Standard deviations of the Gaussian, 1/sqrt(gamma), by which the domain of integration exceeds the window.
MARGIN = 7.0
#: Panels per standard deviation or per unit of the weights, whichever is narrower, and nodes in each.
PANELS, NODES = 2, 8


class Moments(NamedTuple):
    """F, the mean of t and its covariance (entries 11, 12, 22), each at the nodes of a window (n, m)."""

    value: Array
    mean: tuple[Array, Array]
    covariance: tuple[Array, Array, Array]


def gauss_legendre_panels(limit: float, width: float) -> tuple[Array, Array]:
    """Return Gauss-Legendre nodes and weights on [-limit, limit], in panels of at most ``width`` that meet at 0."""
    count = int(np.ceil(limit / width))
    edges = np.linspace(-limit, limit, 2 * count + 1)
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = limit / (2 * count)
    middle = (edges[:-1] + edges[1:]) / 2
    return (middle[:, None] + half * x).ravel(), np.tile(half * w, 2 * count)


def _kernels(loss: Loss, gamma: float, first: Array, second: Array) -> tuple[Array, Array, Array, Array, float]:
    """Return nodes (k,), both Gaussian kernels times weights (n, k) and (m, k), exp(-(L - shift)) (k, k), and the shift."""
    deviation = gamma**-0.5
    limit = max(np.abs(first).max(), np.abs(second).max()) + MARGIN * deviation
    t, w = gauss_legendre_panels(float(limit), min(1.0, deviation) / PANELS)
    losses = loss(t[:, None], t[None, :])
    shift = float(losses.min())
    one, two = (w * np.exp(-gamma / 2 * (theta[:, None] - t) ** 2) for theta in (first, second))
    return t, one, two, np.exp(shift - losses), shift


def local_entropy(loss: Loss, gamma: float, first: Array, second: Array) -> Array:
    """Return F at the nodes ``first`` (n,) by ``second`` (m,), (n, m).

    ``loss`` is evaluated at all k x k quadrature nodes; k grows with the window and with sqrt(gamma).
    """
    _, one, two, density, shift = _kernels(loss, gamma, first, second)
    return shift - np.log(one @ density @ two.T)


def local_entropy_moments(loss: Loss, gamma: float, first: Array, second: Array) -> Moments:
    """Return F and the first two moments of t at the nodes ``first`` (n,) by ``second`` (m,)."""
    t, one, two, density, shift = _kernels(loss, gamma, first, second)
    powers = {(i, j): (one * t**i) @ density @ (two * t**j).T for i in range(3) for j in range(3) if i + j <= 2}
    mass = powers[0, 0]
    mean = powers[1, 0] / mass, powers[0, 1] / mass
    covariance = (
        powers[2, 0] / mass - mean[0] ** 2,
        powers[1, 1] / mass - mean[0] * mean[1],
        powers[0, 2] / mass - mean[1] ** 2,
    )
    return Moments(shift - np.log(mass), mean, covariance)


def weight_grid(span: float, step: float, *, straddling: bool = False) -> Array:
    """Return nodes ``step`` apart from -span to span, with one at 0; ``straddling``: shifted by half a step, with none at 0."""
    count = round(span / step)
    nodes = step * np.arange(-count, count + 1, dtype=np.float64)
    return nodes[:-1] + step / 2 if straddling else nodes


def largest_second_difference(values: Array, step: float) -> float:
    """Return max |f(i+1) - 2 f(i) + f(i-1)| / step^2 along either axis; at a kink it is proportional to 1 / step."""
    return max(float(np.abs(np.diff(values, 2, axis=axis)).max()) / step**2 for axis in (0, 1))
