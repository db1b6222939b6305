"""Diffusion of SGD and SAM at a saddle: closed forms and simulation of one eigendirection (kim2023, sections 4.4 and 4.5).

dw = -a w dt + sqrt(2 D) dW from w(0) = 0, with D = eta |lambda| / (2 B), has w ~ N(0, sigma^2(t)),

    sigma^2(t) = D / a (1 - exp(-2 a t)).

SAM with the constant radius rho drifts by grad l(w^p) = lambda (1 + rho lambda) w, ``power`` 1. Theorem 4.3 differentiates
through w^p instead and gets a = lambda (1 + rho lambda)^2, ``power`` 2; that is the gradient of l(w^p(w)), not SAM's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustscape.theory.kim2023._toys import Array


def drift_coefficient(eigenvalue: Any, rho: Any, power: int) -> Any:
    """a = lambda (1 + rho lambda)^power."""
    return eigenvalue * (1 + rho * eigenvalue) ** power


def diffusion_variance(eigenvalue: Any, t: Any, *, rho: Any = 0.0, power: int = 1, eta: float, batch: Any) -> Any:
    """sigma^2(t); 2 D t where the drift vanishes."""
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
    """Theorem 4.5, the mean squared displacement under momentum ``gamma`` (dampening 0).

    ``printed`` takes C2 = eta / t from the statement; its derivation gives t / eta, which is used otherwise.
    """
    c1, c2, c3, c4 = displacement_constants(eigenvalue, t, rho=rho, eta=eta, power=power, printed=printed)
    u = 1 - gamma
    return (c1 * inertial_term(u, c2) - c3 * np.expm1(-c4 / u) / u) / batch


def displacement_constants(
    eigenvalue: float, t: float, *, rho: float, eta: float, power: int = 2, printed: bool = False
) -> tuple[float, float, float, float]:
    """C1 to C4 of theorem 4.5."""
    a = drift_coefficient(eigenvalue, rho, power)
    return eta**2 * abs(eigenvalue) / 2, eta / t if printed else t / eta, eta * abs(eigenvalue) / (2 * a), 2 * a * t


def inertial_term(u: Any, c2: float) -> Any:
    """h = (1 - exp(-C2 u))^2 / u^3 at u = 1 - gamma."""
    return np.expm1(-c2 * u) ** 2 / u**3


def inertial_term_slope(u: Any, c2: float) -> Any:
    """dh / dgamma = exp(-2 C2 u) (exp(C2 u) - 1) (3 (exp(C2 u) - 1) - 2 C2 u) / u^4, which is positive."""
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
    """Variances after each of the ``steps``, (len(steps), directions), of Euler's and Maruyama's scheme with dt = eta.

    A step is w <- w - eta (a w + noise) with noise of variance |lambda| / B: SGD's or SAM's own step. All directions see
    the same noise, so that they differ in nothing else.
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
    """Mean squared displacement (len(gammas),) of SAM with momentum: m <- gamma m + g, w <- w - eta m."""
    w, m = np.zeros((len(gammas), paths)), np.zeros((len(gammas), paths))
    a, strength = drift_coefficient(eigenvalue, rho, 1), (abs(eigenvalue) / batch) ** 0.5
    for _ in range(steps):
        m = gammas[:, None] * m + a * w + strength * generator.standard_normal(paths)
        w = w - eta * m
    squares: Array = (w**2).mean(axis=1)
    return squares


def variance_sampling_error(draws: int) -> float:
    """Five standard errors of a Gaussian variance estimated from ``draws`` draws, relative to it."""
    return float(5 * (2 / draws) ** 0.5)
