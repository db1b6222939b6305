"""The scalar toy of liu2020, section 2 (figure 2): g(theta, x) = log(1 + exp(theta x)) at x = 1, under attacks of size eps.

The loss rises with theta x, so the worst x' in [1 - eps, 1 + eps] is 1 + eps for theta > 0 and 1 - eps for theta < 0:

    g_eps(theta)  = log(1 + exp(theta + eps |theta|))
    g_eps'(theta) = (1 + eps) sigma(theta (1 + eps)) for theta > 0,  (1 - eps) sigma(theta (1 - eps)) for theta < 0

with one-sided derivatives (1 + eps) / 2 and (1 - eps) / 2 at the kink at 0. Everything is float64 and elementwise in theta and
eps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def vanilla_loss(theta: Array, x: Array) -> Array:
    """Return g(theta, x), in nats."""
    return np.logaddexp(0.0, theta * x)


def vanilla_slope(theta: Array, x: Array) -> Array:
    """Return dg/dtheta."""
    return x * sigmoid(theta * x)


def adversarial_loss(theta: Array, eps: float | Array) -> Array:
    """Return g_eps(theta), in nats."""
    return np.logaddexp(0.0, theta + eps * np.abs(theta))


def worst_input(theta: Array, eps: float | Array) -> Array:
    """Return the maximising x'; at theta = 0, where all x' have one loss, the one that gives the right derivative."""
    return np.where(theta >= 0, 1.0 + eps, 1.0 - eps)


def adversarial_slope(theta: Array, eps: float | Array) -> Array:
    """Return g_eps'(theta); at 0 the right derivative."""
    return vanilla_slope(theta, worst_input(theta, eps))


def lipschitz_constants(eps: float) -> tuple[float, float, float]:
    """Return the Lipschitz constants (L_theta, L_theta_theta, L_theta_x) of g over theta in R and x' within eps of 1.

    |dg/dtheta| = |x'| sigma <= 1 + eps; |d2g/dtheta2| = x'^2 sigma (1 - sigma) <= (1 + eps)^2 / 4; and
    |d2g/dtheta dx| = |sigma(z) + z sigma'(z)| with z = theta x', whose maximum over all z is 1.0998.
    """
    z = np.linspace(-20.0, 20.0, 400_001)
    s = sigmoid(z)
    return 1.0 + eps, (1.0 + eps) ** 2 / 4.0, float(np.abs(s + z * s * (1.0 - s)).max())
