"""Diffusion of SGD and SAM at a saddle, in closed form and simulated, per eigendirection (kim2023, sections 4.4 and 4.5).

The solution of dw = -a w dt + sqrt(2 D) dW, w(0) = 0, with D = eta |lambda| / (2 B), is w ~ N(0, sigma^2(t)),

    sigma^2(t) = D / a (1 - exp(-2 a t)).

SAM with a constant radius rho has the drift grad l(w^p) = lambda (1 + rho lambda) w (``power`` 1). Theorem 4.3 differentiates
through w^p instead and gets a = lambda (1 + rho lambda)^2 (``power`` 2), which belongs to the gradient of l(w^p(w)), not to SAM.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustscape.theory.kim2023._toys import Array


def drift_coefficient(eigenvalue: Any, rho: Any, power: int) -> Any:
    """Return a = lambda (1 + rho lambda)^power, elementwise."""
    return eigenvalue * (1 + rho * eigenvalue) ** power


def diffusion_variance(eigenvalue: Any, t: Any, *, rho: Any = 0.0, power: int = 1, eta: float, batch: Any) -> Any:
    """Return sigma^2(t), elementwise; 2 D t where the drift vanishes."""
    diffusion = eta * abs(eigenvalue) / (2 * batch)
    a = np.asarray(drift_coefficient(eigenvalue, rho, power), float)
    exponent = -2 * a * t
    still = np.abs(a) < 1e-12
    return diffusion * np.where(still, 2 * t, -np.expm1(exponent) / np.where(still, 1.0, a))


def mean_squared_displacement(
    gamma: Any,
    eigenvalue: float,
    t: float,
    *,
    rho: float,
    eta: float,
    batch: Any,
    power: int = 2,
    printed: bool = False,
) -> Any:
    """Return the mean squared displacement of theorem 4.5 under momentum ``gamma`` (dampening 0), elementwise in gamma.

    ``printed`` uses C2 = eta / t, as in the statement of the theorem, instead of t / eta, which its derivation gives.
    """
    c1, c2, c3, c4 = displacement_constants(eigenvalue, t, rho=rho, eta=eta, power=power, printed=printed)
    u = 1 - gamma
    return (c1 * inertial_term(u, c2) - c3 * np.expm1(-c4 / u) / u) / batch


def displacement_of_the_proof(
    gamma: Any, eigenvalue: float, t: float, *, rho: float, eta: float, batch: Any, power: int = 2
) -> Any:
    """Return the first line of the end of theorem 4.5's proof, in its own phi = (1 - gamma) / eta and M = eta (dampening 0).

    eta |lambda| / (2 phi^3 M^2 B) (1 - exp(-phi t))^2 + eta |lambda| / (2 phi M B a) (1 - exp(-2 a t / (phi M))), with the
    drift a; the constants C1 to C4 of the theorem abbreviate it.
    """
    phi, mass = (1 - gamma) / eta, eta
    a = drift_coefficient(eigenvalue, rho, power)
    noise = eta * abs(eigenvalue) / (2 * batch)
    inertial = noise / (phi**3 * mass**2) * (1 - np.exp(-phi * t)) ** 2
    return inertial + noise / (phi * mass * a) * (1 - np.exp(-2 * a * t / (phi * mass)))


def displacement_constants(
    eigenvalue: float, t: float, *, rho: float, eta: float, power: int = 2, printed: bool = False
) -> tuple[float, float, float, float]:
    """Return the constants C1 to C4 of theorem 4.5; ``printed`` as in ``mean_squared_displacement``."""
    a = drift_coefficient(eigenvalue, rho, power)
    return eta**2 * abs(eigenvalue) / 2, eta / t if printed else t / eta, eta * abs(eigenvalue) / (2 * a), 2 * a * t


def inertial_term(u: Any, c2: float) -> Any:
    """Return h = (1 - exp(-C2 u))^2 / u^3 at u = 1 - gamma."""
    return np.expm1(-c2 * u) ** 2 / u**3


def inertial_term_slope(u: Any, c2: float) -> Any:
    """Return dh / dgamma = exp(-2 C2 u) (exp(C2 u) - 1) (3 (exp(C2 u) - 1) - 2 C2 u) / u^4, which is positive."""
    rise = np.expm1(c2 * u)
    return np.exp(-2 * c2 * u) * rise * (3 * rise - 2 * c2 * u) / u**4


def simulate_variances(
    eigenvalues: Array,
    a: Array,
    *,
    eta: float,
    batch: int,
    steps: list[int],
    paths: int,
    generator: np.random.Generator,
) -> Array:
    """Return the variances after each of the ``steps``, (len(steps), directions), of the Euler-Maruyama scheme with dt = eta.

    A step is w <- w - eta (a w + noise) with noise of variance |lambda| / B: the step of SGD or SAM itself. All directions get
    the same noise, so that they differ in nothing else. Cost: max(steps) x directions x paths.
    """
    w = np.zeros((len(a), paths))
    strength = eta * np.sqrt(np.abs(eigenvalues) / batch)[:, None]
    shrink = 1 - eta * a[:, None]
    found = []
    for step in range(1, max(steps) + 1):
        w *= shrink
        w += strength * generator.standard_normal(paths)
        if step in steps:
            found.append((w**2).mean(axis=1))
    return np.array(found)


def simulate_momentum_displacement(
    eigenvalue: float,
    gammas: Array,
    *,
    rho: float,
    eta: float,
    batch: int,
    steps: int,
    paths: int,
    generator: np.random.Generator,
) -> Array:
    """Return the mean squared displacement (len(gammas),) of SAM with momentum: m <- gamma m + g, w <- w - eta m."""
    w, m = np.zeros((len(gammas), paths)), np.zeros((len(gammas), paths))
    a, strength = drift_coefficient(eigenvalue, rho, 1), (abs(eigenvalue) / batch) ** 0.5
    for _ in range(steps):
        m = gammas[:, None] * m + a * w + strength * generator.standard_normal(paths)
        w = w - eta * m
    squares: Array = (w**2).mean(axis=1)
    return squares


def exact_momentum_displacement(
    eigenvalue: float, gammas: Array, *, rho: float, eta: float, batch: int, steps: int
) -> Array:
    """Return what ``simulate_momentum_displacement`` estimates, (len(gammas),), from the recursion of the second moments.

    A step maps (w, m) to A (w, m) + b xi with a standard normal xi, so that the covariance S becomes A S A^T + b b^T.
    """
    slope, strength = eigenvalue * (1 + rho * eigenvalue), (abs(eigenvalue) / batch) ** 0.5
    found = []
    for gamma in gammas:
        step = np.array([[1 - eta * slope, -eta * gamma], [slope, gamma]])
        noise = strength * np.array([-eta, 1.0])
        covariance = np.zeros((2, 2))
        for _ in range(steps):
            covariance = step @ covariance @ step.T + np.outer(noise, noise)
        found.append(covariance[0, 0])
    return np.array(found)


def variance_sampling_error(draws: int) -> float:
    """Return five standard errors of a Gaussian variance that is estimated from ``draws`` draws, relative to the variance."""
    return float(5 * (2 / draws) ** 0.5)
