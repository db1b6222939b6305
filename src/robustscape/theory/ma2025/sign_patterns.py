"""ma2025 table 4.9: the 27 combinations of the signs of A, A + B and A - B, which of them exist, and what signGD does there."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    population_gradient,
    sign_step,
    to_frequency,
    to_spatial,
)
from robustscape.theory.ma2025._sign_descent import errors_of

#: Values of A and B that between them have every combination that exists: three lines through 0 cut the plane into 13 faces.
VALUES = (-2.0, -1.0, 0.0, 1.0, 2.0)


def sign_patterns() -> list[dict[str, Any]]:
    """Return a row per combination (is it valid?), its step over eta and the order of |A| and |B|, from (4.16).

    ``simulated_decrement_over_eta`` is that of a step of signGD in the spatial domain from errors with these A and B.
    """
    places = {signs_of(a, b): (a, b) for a, b in itertools.product(VALUES, repeat=2)}
    rows: list[dict[str, Any]] = []
    for signs in itertools.product((1, -1, 0), (1, -1, 0), (1, -1, 0)):
        common = dict(zip(("sign_A", "sign_A_plus_B", "sign_A_minus_B"), signs, strict=True)) | {"unit": "1"}
        place = places.get(signs)
        valid = {"row_type": "valid", "component": "all", "metric": "is_valid_combination"}
        rows.append({**common, **valid, "value": float(place is not None)})
        if place is None:
            continue
        a, b = (np.array(value) for value in place)
        order = {"row_type": "relation", "component": "all", "metric": "sign_absA_minus_absB"}
        rows.append({**common, **order, "value": float(np.sign(abs(a) - abs(b)))})
        for metric, step in (
            ("decrement_over_eta", sign_step(a, b)),
            ("simulated_decrement_over_eta", spatial_decrement(a, b)),
        ):
            rows += [
                {**common, "row_type": "update", "component": f"e{i}", "metric": metric, "value": float(step[i])}
                for i in range(3)
            ]
    return rows


def signs_of(a: float, b: float) -> tuple[int, int, int]:
    """Return the signs of A, A + B and A - B."""
    first, second, third = (int(np.sign(value)) for value in (a, a + b, a - b))
    return first, second, third


def spatial_decrement(a: Array, b: Array, rate: float = 0.01) -> Array:
    """Return (e~(t) - e~(t + 1)) / eta (3,) of a step of signGD in the spatial domain, s = (1, 1/2, 0).

    Entries of the gradient that are 0 but for rounding are 0; the result has ten decimals.
    """
    s = np.array([1.0, 0.5, 0.0])
    error_f = errors_of(a, b, s)
    error = to_spatial(error_f)
    moved = error - rate * np.sign(np.round(population_gradient(error, s), 12))
    return np.asarray(np.round((error_f - to_frequency(moved)) / rate, 10))
