"""signGD with three frequencies, one of them irrelevant (ma2025 appendix 4.D.2), simulated in the spatial domain.

s = (s_0, s_1, 0). T is the first step with |A| < s_0 eta, that is |e~_0| < sqrt(3) eta. Starts are drawn from a density, so
that no entry of a gradient is 0 (proposition 4.D.1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    Integers,
    a_and_b,
    population_gradient,
    to_frequency,
    to_spatial,
)


def spatial_step(error: Array, s: Array, rate: float) -> Array:
    """Return e - rate sign(Sigma e) of errors (..., 3) in the spatial domain, equation 4.14."""
    return error - rate * np.sign(population_gradient(error, s))


def errors_of(a: Array, b: Array, s: Array) -> Array:
    """Return the errors e~ (..., 3) with these A and B and e~_2 = 0."""
    return np.stack([math.sqrt(3) * a / s[0], math.sqrt(2) * b / s[1], np.zeros_like(a)], axis=-1)


def random_starts(s: Array, rate: float, count: int, generator: np.random.Generator) -> Array:
    """Return starts e~(0) (count, 3) with A and B in multiples of s_0 eta: half of them up to 3, the others up to 60."""
    reach = np.where(np.arange(count) % 2 == 0, 3.0, 60.0)
    a, b = generator.uniform(-1, 1, (2, count)) * reach * s[0] * rate
    return errors_of(a, b, s)


class Descent(NamedTuple):
    """What happens before T, one entry per start."""

    steps: Array
    """T."""
    growing: Array
    """Number of t < T with |A| <= |B|."""
    drift: Array
    """Sum of the steps of w~_2 before T."""


def descend_to_oscillation(start_f: Array, s: Array, rate: float, limit: int = 1_000_000) -> Descent:
    """Return T, the count of proposition 4.D.7 and the change of w~_2, of starts e~(0) (n, 3).

    Raises:
        RuntimeError: a start has not come to T after ``limit`` steps.
    """
    error = to_spatial(start_f)
    steps, growing = np.zeros(len(error)), np.zeros(len(error))
    for _ in range(limit):
        a, b = a_and_b(to_frequency(error), s)
        moving = np.abs(a) >= s[0] * rate
        if not moving.any():
            return Descent(steps, growing, to_frequency(error)[:, 2] - start_f[:, 2])
        steps += moving
        growing += moving & (np.abs(a) <= np.abs(b))
        error = np.where(moving[:, None], spatial_step(error, s, rate), error)
    raise RuntimeError(f"no oscillation after {limit} steps")


def iterate_steps(error: Array, s: Array, rate: float, steps: int) -> Array:
    """Return errors (..., 3) in the spatial domain after ``steps`` of signGD."""
    for _ in range(steps):
        error = spatial_step(error, s, rate)
    return error


def descent_before_oscillation(start_f: Array, s: Array, rate: float, times: Integers) -> Array:
    """Return e~ (n, 3) of signGD at ``times`` (n,) <= T in closed form, for s_1 / s_0 < 1/3 and |A(0)|, |B(0)| > s_0 rate.

    From table 4.9: while |A| > |B| a step takes sqrt(3) eta from |e~_0| and nothing else, which lasts t' = max(0,
    ceil((|A(0)| - |B(0)|) / (s_0 eta))) steps. From then on |A| < |B| (proposition 4.D.7, P5), and a step takes eta / sqrt(3)
    from |e~_0|, sqrt(2) eta from |e~_1|, and adds sign(A) sqrt(6)/3 eta to e~_2.
    """
    a, b = a_and_b(start_f, s)
    first = max(0, math.ceil((abs(a) - abs(b)) / (s[0] * rate)))
    before, after = np.minimum(times, first), np.maximum(times - first, 0)
    return np.stack(
        [
            start_f[0] - np.sign(a) * rate * (math.sqrt(3) * before + after / math.sqrt(3)),
            start_f[1] - np.sign(b) * rate * math.sqrt(2) * after,
            start_f[2] + np.sign(a) * rate * math.sqrt(6) / 3 * after,
        ],
        axis=-1,
    )
