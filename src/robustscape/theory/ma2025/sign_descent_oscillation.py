"""ma2025 appendix 4.D.2: signGD step by step (4.16), and what its errors do in the end, with corrected bounds."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    a_and_b,
    population_gradient,
    sign_step,
    standard_risk,
    to_frequency,
    to_spatial,
)
from robustscape.theory.ma2025._sign_descent import descend_to_oscillation, iterate_steps, random_starts, spatial_step
from robustscape.theory.rows import check_row

#: A gradient entry below this may have the wrong sign from rounding; the comparison of the two domains ends there.
TIE = 1e-12


def sign_descent_oscillation(
    *,
    ratios: list[Annotated[float, Field(gt=0)]] = [0.15, 0.25, 0.5, 1.0],  # noqa: B006  (read from the syntax tree as a schema)
    starts: Annotated[int, Field(ge=50)] = 2000,
    steps: Annotated[int, Field(ge=200)] = 800,
    rate: Annotated[float, Field(gt=0)] = 0.01,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check signGD with s = (1, ratio, 0), simulated in the spatial domain.

    (4.16) in the frequency domain gives the same path. Proposition 4.D.3: once |e~_0| is at most sqrt(3) eta it stays so. The
    standard risk in the end is O(eta^2) (4.24). Of remark 4.D.5, (4.22) and proposition 4.D.4 the corrected forms are
    checked: in the end |e~_0| <= sqrt(3) eta (the work: 2 sqrt(3)/3 eta, which R_31 contradicts), |e~_1| <= sqrt(2) max(1,
    s_0 / (2 s_1)) eta (the work: sqrt(2) eta, which leaves out that B rests wherever |B| < |A|), e~_2 moves by at most
    sqrt(6) eta from T on (the work: 2 sqrt(6)/3 eta, without the step at T), and A and B repeat every second step late (the
    work: from the first entry into a stationary subpartition on). Corollary 4.D.6: of the A after T the positive and the
    negative ones are never further apart than 2. Each bound is also reached, or nearly so.

    Args:
        ratios: values of s_1 / s_0.
        starts: random starts of each.
        steps: of signGD.
        rate: eta.
        seed: of the starts.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for ratio in ratios:
        s = np.array([1.0, ratio, 0.0])
        start_f = random_starts(s, rate, starts, generator)
        columns = {"ratio": ratio, "starts": starts, "rate": rate, "steps": steps}
        off = domain_difference(start_f, s, rate, steps)
        rows.append(check_row("eq 4.16", "largest error over all steps", off, "==", 0.0, tolerance=1e-9, **columns))
        late = iterate_steps(to_spatial(start_f), s, rate, steps)
        path = [late]
        for _ in range(9):
            path.append(spatial_step(path[-1], s, rate))
        late_f = to_frequency(np.stack(path))
        first, second = (float(np.abs(late_f[..., i]).max()) / rate for i in (0, 1))
        room = max(1.0, 1 / (2 * ratio))
        found = [*a_and_b(late_f, s)]
        periodic = max(float(np.abs(part[2:] - part[:-2]).max()) for part in found) / rate
        risk = float(standard_risk(late_f, s).max()) / rate**2
        shift = drift_after_oscillation(start_f, s, rate, steps) / rate
        apart = sign_imbalance(start_f, s, rate, steps)
        rows += [
            check_row("prop 4.D.3", "late |e~_0| / eta", first, "<=", math.sqrt(3), tolerance=1e-9, **columns),
            check_row("prop 4.D.3 is reached", "share of the bound", first / math.sqrt(3), ">=", 0.9, **columns),
            check_row(
                "remark 4.D.5, corrected", "late |e~_1| / eta", second, "<=", math.sqrt(2) * room, tolerance=1e-9, **columns
            ),
            check_row(
                "remark 4.D.5 is reached", "share of the corrected bound", second / (math.sqrt(2) * room), ">=", 0.8, **columns
            ),
            check_row("eq 4.22, corrected", "drift after T / eta", shift, "<=", math.sqrt(6), tolerance=1e-9, **columns),
            check_row("eq 4.22 is reached", "share of the corrected bound", shift / math.sqrt(6), ">=", 0.9, **columns),
            check_row("corollary 4.D.6", "positive A less negative ones after T", apart, "<=", 2.0, **columns),
            check_row("corollary 4.D.6 is reached", "positive A less negative ones", apart, ">=", 2.0, **columns),
            check_row("prop 4.D.4, late", "largest change over two steps", periodic, "==", 0.0, tolerance=1e-9, **columns),
            check_row(
                "eq 4.24", "late standard risk / eta^2", risk, "<=", 1.5 + ratio * room**2, tolerance=1e-9, **columns
            ),
        ]  # fmt: skip
    return rows


def domain_difference(start_f: Array, s: Array, rate: float, steps: int) -> float:
    """Return the largest difference between (4.14), simulated in the spatial domain, and (4.16), of starts (n, 3).

    A start takes no further part once a gradient entry is below ``TIE``.
    """
    error, error_f, apart = to_spatial(start_f), start_f, 0.0
    going = np.ones(len(start_f), dtype=bool)
    for _ in range(steps):
        going &= np.abs(population_gradient(error, s)).min(axis=1) > TIE
        error = spatial_step(error, s, rate)
        error_f = error_f - rate * sign_step(*a_and_b(error_f, s))
        if going.any():
            apart = max(apart, float(np.abs(to_frequency(error) - error_f)[going].max()))
    return apart


def drift_after_oscillation(start_f: Array, s: Array, rate: float, steps: int) -> float:
    """Return the largest |e~_2(t) - e~_2(T)| over t >= T within ``steps`` steps after T, of starts (n, 3)."""
    first = descend_to_oscillation(start_f, s, rate)
    error = to_spatial(start_f)
    reference = start_f[:, 2] + first.drift
    drift = 0.0
    for step in range(1, int(first.steps.max()) + steps):
        error = spatial_step(error, s, rate)
        begun = np.where(step >= first.steps, 1.0, 0.0)
        drift = max(drift, float((begun * np.abs(to_frequency(error)[:, 2] - reference)).max()))
    return drift


def sign_imbalance(start_f: Array, s: Array, rate: float, steps: int) -> float:
    """Return the largest |positive less negative A| after T, at any time within ``steps`` of it, of starts (n, 3)."""
    first = descend_to_oscillation(start_f, s, rate)
    error, sums, largest = to_spatial(start_f), np.zeros(len(start_f)), 0.0
    for step in range(1, int(first.steps.max()) + steps):
        error = spatial_step(error, s, rate)
        sums += np.where(step > first.steps, np.sign(a_and_b(to_frequency(error), s)[0]), 0.0)
        largest = max(largest, float(np.abs(sums).max()))
    return largest
