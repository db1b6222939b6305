"""Linear regression on data with irrelevant frequencies, ma2025 section 4.4.1: f(x, w) = <w, x>, loss 1/2 (f - y)^2.

The DCT x~ = C x of an input is N(0, diag(s)), and y = <w~*, x~>. ``s`` (d,) are VARIANCES, in the work sigma~_i^2, and 0 at
the irrelevant frequencies. With a tilde, here in names ending in ``_f``, a vector is in the frequency domain, w~ = C w;
without, in the spatial domain. Arrays are float64; vectors are (..., d).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The data of figure 4.7: variances, true weights, first weights and learning rate.
VARIANCES, TARGET, START, RATE = (0.01, 0.0025, 0.0), (5.0, 10.0, 0.0), (0.01, -0.01, 0.02), 0.01


@functools.cache
def dct_matrix(d: int) -> Array:
    """Return C of equation 4.4 (d, d), orthonormal: row k is the cosine of frequency k. It is shared and cannot be written to."""
    matrix = np.asarray(dct(np.eye(d), axis=0, norm="ortho"))
    matrix.setflags(write=False)
    return matrix


def to_spatial(vectors_f: Array) -> Array:
    """Return C^T v~ of vectors (..., d)."""
    return vectors_f @ dct_matrix(vectors_f.shape[-1])


def to_frequency(vectors: Array) -> Array:
    """Return C v of vectors (..., d)."""
    return vectors @ dct_matrix(vectors.shape[-1]).T


def covariance(s: Array) -> Array:
    """Return Sigma = C^T diag(s) C (d, d), the covariance of inputs in the spatial domain."""
    c = dct_matrix(len(s))
    return np.asarray(c.T @ (s[:, None] * c))


def population_gradient(error: Array, s: Array) -> Array:
    """Return dR_s/dw = Sigma e of errors e = w - w* (..., d) in the spatial domain, of that shape."""
    return np.asarray(error @ covariance(s))


def point_loss(x: Array, shift: Array, w: Array, target: Array) -> Array:
    """Return 1/2 (<x + shift, w> - <x, w*>)^2 of inputs and shifts (..., d), all in one domain."""
    return np.asarray(0.5 * (x @ (w - target) + shift @ w) ** 2)


def worst_perturbation(x: Array, w: Array, target: Array, eps: float) -> Array:
    """Return equation 4.8, eps sign(<x, w - w*>) w / ||w||_2, for inputs (..., d).

    Where <x, w - w*> is 0 both signs are maximisers and the printed sign(0) = 0 is none; the sign is 1 there.
    """
    side = np.where(x @ (w - target) >= 0, 1.0, -1.0)
    return np.asarray(eps * side[..., None] * w / np.linalg.norm(w))


def standard_risk(error_f: Array, s: Array) -> Array:
    """Return R_s = 1/2 sum_i s_i e~_i^2 of errors (..., d)."""
    return np.asarray(0.5 * (s * error_f**2).sum(-1))


def adversarial_risk(error_f: Array, target_f: Array, s: Array, eps: float) -> Array:
    """Return equation 4.9 of errors e~ = w~ - w~* (..., d): R_s + eps sqrt(2/pi sum s e~^2) ||w~|| + eps^2/2 ||w~||^2."""
    norm = np.linalg.norm(error_f + target_f, axis=-1)
    spread = np.sqrt(2 * standard_risk(error_f, s))
    return np.asarray(standard_risk(error_f, s) + eps * math.sqrt(2 / math.pi) * spread * norm + eps**2 / 2 * norm**2)


def minimiser_risk(w: Array, eps: float) -> Array:
    """Return equation 4.10, eps^2/2 ||w||^2: the adversarial risk of weights (..., d) whose standard risk is 0."""
    return np.asarray(eps**2 / 2 * (w**2).sum(-1))


def descent_error(start_f: Array, s: Array, rate: float, steps: Array | Integers | int) -> Array:
    """Return equation 4.12, the error (I - rate diag(s))^t e~(0) of gradient descent after t ``steps`` (...,): (..., d)."""
    return np.asarray((1 - rate * s) ** np.asarray(steps)[..., None] * start_f)


def a_and_b(error_f: Array, s: Array) -> tuple[Array, Array]:
    """Return A = s_0 e~_0 / sqrt(3) and B = s_1 e~_1 / sqrt(2) of errors (..., 3)."""
    return s[0] * error_f[..., 0] / math.sqrt(3), s[1] * error_f[..., 1] / math.sqrt(2)


def sign_step(a: Array, b: Array) -> Array:
    """Return equation 4.16 over eta: what a step of signGD takes from e~ (..., 3), d = 3, s_2 = 0."""
    up, middle, down = np.sign(a + b), np.sign(a), np.sign(a - b)
    return np.stack(
        [
            (up + middle + down) / math.sqrt(3),
            (up - down) / math.sqrt(2),
            (up - 2 * middle + down) / math.sqrt(6),
        ],
        axis=-1,
    )
