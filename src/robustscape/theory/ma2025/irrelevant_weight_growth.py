"""ma2025 propositions 4.D.7 and 4.D.8, equation 4.19: how far signGD moves the irrelevant weight, and what that costs."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import Array, a_and_b, adversarial_risk, to_frequency, to_spatial
from robustscape.theory.ma2025._sign_descent import (
    Descent,
    descend_to_oscillation,
    descent_before_oscillation,
    random_starts,
    spatial_step,
)
from robustscape.theory.ma2025._sign_partitions import WHOLE, growth_partition
from robustscape.theory.rows import check_row


def irrelevant_weight_growth(
    *,
    ratios: list[Annotated[float, Field(gt=0)]] = [0.15, 0.25, 0.5, 1.0],  # noqa: B006  (read from the syntax tree as a schema)
    starts: Annotated[int, Field(ge=50)] = 4000,
    rate: Annotated[float, Field(gt=0)] = 0.01,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check signGD with s = (1, ratio, 0), simulated in the spatial domain from random starts, up to T.

    Counts N of t < T with |A| <= |B| (4.D.7): 0 from P_1 and P_2 (T is 0 from P_1, not 1 as the proof has it), T from P_3 and
    P_5; from P_6 the formula, which the work gives as exact, within [-3, 1], and from P_4 the interval, within 1, with s_1
    eta in its denominator (the work has s_1/s_0 eta there). From P_5 T is (|A(0)| - s_0 eta) / (s_0 eta / 3) within 1. The
    irrelevant weight moves by C eta N with C = sqrt(6)/3, since ties do not occur, and (4.D.8) as the leading term says
    within 5 eta. Below a ratio of 1/3 the whole path up to T is the closed form within 1e-6, and the adversarial risk of the
    minimiser that signGD approaches is (4.19) with the upper ends of C_3 and C_4, that of the same C.

    Args:
        ratios: values of s_1 / s_0.
        starts: random starts of each.
        rate: eta.
        seed: of the starts.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for ratio in ratios:
        s = np.array([1.0, ratio, 0.0])
        start_f = random_starts(s, rate, starts, generator)
        found = descend_to_oscillation(start_f, s, rate)
        moved = float(np.abs(np.abs(found.drift) - weight_moved(found, rate)).max()) / rate
        columns = {"ratio": ratio, "starts": starts, "rate": rate}
        rows += [
            *_count_rows(start_f, found, s, rate, columns),
            check_row(
                "eq 4.27", "largest error of |dw~_2| / eta", moved,
                "==", 0.0, tolerance=1e-6, **columns,
            ),
        ]  # fmt: skip
        if ratio < 1 / 3:
            rows += _closed_form_rows(start_f, found, s, rate, columns)
            rows += _risk_rows(s, generator, ratio)
    return rows


def weight_moved(found: Descent, rate: float) -> Array:
    """Return C eta N of equation 4.27 (n,), without ties: C = sqrt(6)/3."""
    return math.sqrt(6) / 3 * rate * found.growing


def predicted_count(label: str, a: Array, b: Array, steps: Array, s: Array, rate: float) -> tuple[Array, Array]:
    """Return the smallest and largest count N of proposition 4.D.7 in a partition, of |A(0)|, |B(0)| and T (n,)."""
    unit = s[0] * rate
    if label in ("P1", "P2"):
        return np.zeros_like(a), np.zeros_like(a)
    if label in ("P3", "P5"):
        return steps, steps
    if label == "P6":
        return (b - unit) / (unit / 3), (b - unit) / (unit / 3)
    return (b - 2 * unit) / (s[1] * rate), (b - unit) / (s[1] * rate)


#: Partition -> how far below and above the prediction the count may be: the work neglects single steps.
ROOM = {"P1": (0.0, 0.0), "P2": (0.0, 0.0), "P3": (0.0, 0.0), "P4": (1.0, 1.0), "P5": (0.0, 0.0), "P6": (3.0, 1.0)}


def count_errors(start_f: Array, found: Descent, s: Array, rate: float) -> dict[str, tuple[float, float, int]]:
    """Return partition -> how far counts fall below the smallest prediction and exceed the largest, at most; number of starts."""
    a, b = (np.abs(part) for part in a_and_b(start_f, s))
    errors = {}
    for label, inside in growth_partition(a, b, s, rate).items():
        if label in WHOLE[s[1] > s[0] / 3] and inside.any():
            low, high = predicted_count(label, a[inside], b[inside], found.steps[inside], s, rate)
            count = found.growing[inside]
            errors[label] = (float((low - count).max()), float((count - high).max()), int(inside.sum()))
    return errors


def _count_rows(start_f: Array, found: Descent, s: Array, rate: float, columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the counts in every partition, and of T from P_5."""
    rows = []
    for label, (below, above, starts) in count_errors(start_f, found, s, rate).items():
        own = {**columns, "starts": starts}
        less, more = ROOM[label]
        rows += [
            check_row(
                f"prop 4.D.7, {label}", "largest shortfall of the count", below, "<=", less, tolerance=1e-9, **own
            ),
            check_row(f"prop 4.D.7, {label}", "largest excess of the count", above, "<=", more, tolerance=1e-9, **own),
        ]
    a, b = (np.abs(part) for part in a_and_b(start_f, s))
    part = growth_partition(a, b, s, rate)
    rows.append(check_row("prop 4.D.7, P1", "largest T", float(found.steps[part["P1"]].max()), "==", 0.0, **columns))
    if "P5" in part:
        expected = (a - s[0] * rate) / (s[0] * rate / 3)
        off = float(np.abs(found.steps - expected)[part["P5"]].max())
        rows.append(check_row("T from P5", "largest error", off, "<=", 1.0, tolerance=1e-9, **columns))
    return rows


def leading_drift(start_f: Array, s: Array, rate: float) -> Array:
    """Return |dw~_2| of proposition 4.D.8 with C = sqrt(6)/3 (n,), for |A(0)| and |B(0)| above s_0 eta; eta is not neglected."""
    a, b = (np.abs(part) for part in a_and_b(start_f, s))
    first, second = np.abs(start_f[:, 0]), np.abs(start_f[:, 1])
    length = np.where(a < b, math.sqrt(3) * first, 3 * math.sqrt(2) * s[1] / (2 * s[0]) * second)
    return math.sqrt(6) / 3 * (length - 3 * rate)


def _closed_form_rows(
    start_f: Array, found: Descent, s: Array, rate: float, columns: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of proposition 4.D.8 and of whole paths up to T, from starts in P_5 and P_6."""
    a, b = a_and_b(start_f, s)
    part = growth_partition(np.abs(a), np.abs(b), s, rate)
    large = part["P5"] | part["P6"]
    off = float(np.abs(np.abs(found.drift) - leading_drift(start_f, s, rate))[large].max()) / rate
    chosen = np.flatnonzero(large)[:50]
    worst = 0.0
    for number in chosen:
        times = np.arange(int(found.steps[number]) + 1)
        path = [to_spatial(start_f[number])]
        for _ in times[1:]:
            path.append(spatial_step(path[-1], s, rate))
        formula = descent_before_oscillation(start_f[number], s, rate, times)
        worst = max(worst, float(np.abs(to_frequency(np.stack(path)) - formula).max()))
    return [
        check_row(
            "prop 4.D.8", "largest error of |dw~_2| / eta", off, "<=", 5.0, **{**columns, "starts": int(large.sum())}
        ),
        check_row(
            "path before T", "largest error", worst, "==", 0.0, tolerance=1e-6, **{**columns, "starts": len(chosen)}
        ),
    ]


def predicted_ratio(target: Array, s: Array, larger: str) -> tuple[float, float]:
    """Return the ends of equation 4.19 for true weights (3,); ``larger`` is "B" if |A(0)| < |B(0)|, else "A"."""
    share = target[:2] ** 2 / float((target[:2] ** 2).sum())
    if larger == "B":
        return 1 + share[0] / 2, 1 + 2 * share[0]
    return 1 + 3 / 4 * (s[1] / s[0]) ** 2 * share[1], 1 + 3 * (s[1] / s[0]) ** 2 * share[1]


def _risk_rows(s: Array, generator: np.random.Generator, ratio: float) -> list[dict[str, Any]]:
    """Rows of the ratio of risks of the minimisers of signGD and gradient descent, for |A(0)| above and below |B(0)|."""
    rows, eps, rate = [], math.sqrt(2), 0.002
    for larger, first in (("A", 4.0), ("B", 1.0)):
        target = np.array([first, first * math.sqrt(2 / 3) / ratio * (0.5 if larger == "A" else 2.0), 0.0])
        start = 0.01 * generator.standard_normal(3)
        found = descend_to_oscillation((start - target)[None], s, rate)
        ends = [np.where(s > 0, target, start + np.array([0, 0, moved])) for moved in (float(found.drift[0]), 0.0)]
        risks = [float(adversarial_risk(w - target, target, s, eps)) for w in ends]
        _, upper = predicted_ratio(target, s, larger)
        columns = {"ratio": ratio, "rate": rate, "eps": eps, "larger": larger}
        rows.append(
            check_row("eq 4.19", "(ratio of risks - 1) / prediction", (risks[0] / risks[1] - 1) / (upper - 1), "==", 1.0,
                      tolerance=0.05, **columns)
        )  # fmt: skip
    return rows
