"""The partitions of (A, B) in ma2025 appendix 4.D.2: R_11 to R_34 near the optimum, P_1 to P_6 on the way there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustscape.theory.ma2025._frequency_regression import Array

Mask = NDArray[np.bool_]

#: Subpartitions that signGD leaves within three steps, and those it stays in.
TRANSIENT = ("R11", "R12", "R21", "R23")
STATIONARY = ("R22", "R31", "R32", "R33", "R34")
#: Partitions, and the parts of them that the proof of proposition 4.D.7 uses; by whether s_1 / s_0 is above 1/3.
WHOLE = {True: ("P1", "P2", "P3", "P4"), False: ("P1", "P2", "P5", "P6")}
INNER = {True: ("P31", "P41", "P42"), False: ()}


def stationary_partition(a: Array, b: Array, s: Array, rate: float) -> dict[str, Mask]:
    """Return label -> where the label applies, for A and B of one shape with |A| < s_0 eta.

    R_34 is what is left of R_3. For s_1 < s_0 / 3 the even or odd multiples in R_32 and R_33 are too near to each other, and
    some points have two labels.
    """
    unit, step = s[0] * rate, s[1] * rate
    size, other = np.abs(a), np.abs(b)
    outer, middle, inner = size > 2 * unit / 3, (size > unit / 3) & (size < 2 * unit / 3), size < unit / 3
    low, high = size < other, size > other
    stays = high & (np.abs(a + unit) > other) & (np.abs(a - unit) > other)
    even = np.round(b / (2 * step))
    even = np.where(even == 0, np.where(b < 0, -1.0, 1.0), even) * 2 * step
    odd = (2 * np.floor(b / (2 * step)) + 1) * step
    found = {
        "R11": outer & low,
        "R12": outer & high,
        "R21": middle & low,
        "R22": middle & stays,
        "R23": middle & high & ~stays,
        "R31": inner & high,
        "R32": inner & (size > np.abs(b - even)),
        "R33": inner & (size + np.abs(b - odd) < unit / 3),
    }
    return {**found, "R34": inner & ~(found["R31"] | found["R32"] | found["R33"])}


def growth_partition(a: Array, b: Array, s: Array, rate: float) -> dict[str, Mask]:
    """Return label -> where it applies, for |A| and |B| of one shape: P_1 to P_4 with their parts, or P_1, P_2, P_5, P_6."""
    unit, slope = s[0] * rate, 3 * s[1] / s[0]
    room = (3 * s[1] - s[0]) * rate
    first, second = a < unit, (a > unit) & (b < unit)
    if slope < 1:
        return {"P1": first, "P2": second, "P5": (a > unit) & (a < b), "P6": (b > unit) & (b < a)}
    third = (a > unit) & (a < (b + room) / slope)  # so |B| > s_0 eta, too: the line goes through (s_0 eta, s_0 eta)
    fourth = (b > unit) & (b < slope * a - room)
    return {
        "P1": first,
        "P2": second,
        "P3": third,
        "P4": fourth,
        "P31": third & (a + unit > b),
        "P41": fourth & (b < a) & (a < 2 * unit),
        "P42": fourth & (a > b) & (a > 2 * unit) & (a < (b + room) / slope + unit),
    }
