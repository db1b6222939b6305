"""ma2025 figure 4.8: where (A, B) is transient and where stationary once |A| < s_0 eta, and what signGD does from there."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import Array, a_and_b, to_frequency, to_spatial
from robustscape.theory.ma2025._region_rows import cell_points, finished_rows, path_rows, run_rows
from robustscape.theory.ma2025._sign_descent import errors_of, iterate_steps, spatial_step
from robustscape.theory.ma2025._sign_partitions import STATIONARY, TRANSIENT, Mask, stationary_partition

#: Rounding of a path, in s_0 eta.
ROUNDING = 1e-9
#: Range of B drawn, in s_0 eta.
REACH = 3.0
#: Starts of the paths drawn, in s_0 eta: from R_11 by R_23 and R_21 to R_3, from R_12, and from R_32 to R_31.
PATHS = {"from R11": (0.97, 1.55), "from R12": (-0.8, -0.5), "from R32": (0.2, -2.1)}


def stationary_regions(
    *,
    ratios: list[Annotated[float, Field(gt=0)]] = [1.0, 0.5, 0.34],  # noqa: B006  (read from the syntax tree as a schema)
    points: Annotated[int, Field(ge=3)] = 600,
    simulated: Annotated[int, Field(ge=3)] = 100,
    steps: Annotated[int, Field(ge=10)] = 60,
) -> list[dict[str, Any]]:
    """Return the partition for s_0 = s_1 and paths of signGD, and for each ratio s_1 / s_0 what holds of all starts in it.

    most_labels and fewest_labels of a point of the grid (1 each, for a ratio above 1/3); steps_to_stationary, the largest
    number of steps from a transient label to a stationary one (the work: 3); late_e0, the largest |e~_0| / eta after
    ``steps``, at most sqrt(3) (remark 4.D.5 has 2/sqrt(3), which its own R_31 passes). For each label the share of its starts
    that go where proposition 4.D.4 says (share_going_as_stated), and of those with a stationary one, whose B does as it says
    (share_with_b_as_stated): see ``_label_shares``.

    Args:
        ratios: s_1 / s_0; the first is drawn.
        points: cells of the grid drawn, in each direction.
        simulated: points of the grid from which signGD is simulated, in each direction.
        steps: of signGD before "late".
    """
    s, rate = np.array([1.0, ratios[0], 0.0]), 1.0
    a, b = np.meshgrid(cell_points(-1, 1, points), cell_points(-REACH, REACH, points))
    panel = f"s₁ / s₀ = {ratios[0]:g}"
    drawn = run_rows(panel, stationary_partition(a, b, s, rate), (-1, 1), (-REACH, REACH))
    for label, place in PATHS.items():
        path = [errors_of(np.array(place[0]), np.array(place[1]), s)]
        for _ in range(6):
            path.append(to_frequency(spatial_step(to_spatial(path[-1]), s, rate)))
        drawn += path_rows(panel, "steps", label, *a_and_b(np.stack(path), s))
    outcomes: list[dict[str, Any]] = []
    for ratio in ratios:
        found = partition_outcomes(ratio, points, simulated, steps)
        outcomes += [{"ratio": ratio, "metric": name, "value": value} for name, value in found.items()]
        for label, shares in _label_shares(ratio, simulated, steps).items():
            outcomes += [{"ratio": ratio, "label": label, "metric": m, "value": value} for m, value in shares.items()]
    return finished_rows(drawn, outcomes)


def partition_outcomes(ratio: float, points: int, simulated: int, steps: int) -> dict[str, float]:
    """Return the numbers of ``stationary_regions`` for a ratio, with s_0 = eta = 1."""
    s, rate = np.array([1.0, ratio, 0.0]), 1.0
    whole = np.meshgrid(cell_points(-1, 1, points), cell_points(-REACH, REACH, points))
    count = np.sum(list(stationary_partition(*whole, s, rate).values()), axis=0)
    a, b = (part.ravel() for part in np.meshgrid(cell_points(-1, 1, simulated), cell_points(-REACH, REACH, simulated)))
    error = to_spatial(errors_of(a, b, s))
    before = stationary_partition(a, b, s, rate)
    waiting = np.any([before[label] for label in TRANSIENT], axis=0)
    settled, longest = ~waiting, 0
    path = [error]
    for step in range(1, 11):
        path.append(spatial_step(path[-1], s, rate))
        now = stationary_partition(*_inside(path[-1], s), s, rate)
        arrived = np.any([now[label] for label in STATIONARY], axis=0)
        if (waiting & ~settled).any():
            longest = step
        settled |= arrived
    late = np.abs(to_frequency(np.stack([iterate_steps(error, s, rate, n) for n in (steps, steps + 1)]))[..., 0])
    return {
        "most_labels": float(count.max()),
        "fewest_labels": float(count.min()),
        "steps_to_stationary": float(longest if settled.all() else math.inf),
        "late_e0": float(late.max()) / rate,
    }


def _label_shares(ratio: float, simulated: int, steps: int) -> dict[str, dict[str, float]]:
    """Return label -> metric -> share of the grid's starts with that label, with s_0 = eta = 1; NaN for a label without any.

    share_going_as_stated (proposition 4.D.4 and its proof): after a step R_11 is in R_2, R_12 and R_21 in R_3, R_23 in R_21.
    R_22 and R_34 stay for all steps, R_31 is in R_12 and R_31 in turn, and in these three A repeats every second step. R_32 is
    in R_31 for the first time after an even number of steps and R_33 after an odd one, until then in one of these two, and goes
    on from there as R_31.

    share_with_b_as_stated: B rests from R_22 and R_31; from R_32 and R_33 it goes by s_1 eta towards 0 in each step until
    R_31, and then rests; from R_34 it does so for ever, and its last three values are within s_1 eta and of alternating sign,
    the first like the third.
    """
    s, rate = np.array([1.0, ratio, 0.0]), 1.0
    a, b = (part.ravel() for part in np.meshgrid(cell_points(-1, 1, simulated), cell_points(-REACH, REACH, simulated)))
    path = [to_spatial(errors_of(a, b, s))]
    for _ in range(steps):
        path.append(spatial_step(path[-1], s, rate))
    a, b = _inside(np.stack(path), s)
    label = stationary_partition(a, b, s, rate)
    time = np.arange(steps + 1)[:, None]
    repeats = (np.abs(a[2:] - a[:-2]) < ROUNDING).all(0)
    arrival = np.where(label["R31"].any(0), label["R31"].argmax(0), steps + 1)
    there, even = time >= arrival, (time - arrival) % 2 == 0
    underway = label["R32"] | label["R33"]
    comes = (arrival <= steps) & np.where(there, np.where(even, label["R31"], label["R12"]), underway).all(0)
    second, third = label["R21"] | label["R22"] | label["R23"], label["R31"] | underway | label["R34"]
    going = {
        "R11": second[1],
        "R12": third[1],
        "R21": third[1],
        "R23": label["R21"][1],
        "R22": label["R22"].all(0) & repeats,
        "R31": comes & (arrival == 0) & repeats,
        "R32": comes & (arrival % 2 == 0),
        "R33": comes & (arrival % 2 == 1),
        "R34": label["R34"].all(0) & repeats,
    }
    moved, one_step = np.diff(b, axis=0), -np.sign(b[:-1]) * s[1] * rate
    rests, falls = np.abs(moved) < ROUNDING, np.abs(moved - one_step) < ROUNDING
    settles = np.where(there[:-1], rests, falls).all(0)
    last = b[-3:]
    swings = (np.abs(last) <= s[1] * rate).all(0) & (np.sign(last[0]) == -np.sign(last[1]))
    swings &= np.abs(last[2] - last[0]) < ROUNDING
    of_b = {
        "R22": rests.all(0),
        "R31": rests.all(0),
        "R32": settles,
        "R33": settles,
        "R34": falls.all(0) & swings,
    }
    return {
        name: {"share_going_as_stated": _share(holds, label[name][0])}
        | ({"share_with_b_as_stated": _share(of_b[name], label[name][0])} if name in of_b else {})
        for name, holds in going.items()
    }


def _share(holds: Mask, among: Mask) -> float:
    """Return the share of ``among`` for which something holds; NaN if it is empty."""
    return float(holds[among].mean()) if among.any() else math.nan


def _inside(error: Array, s: Array) -> tuple[Array, Array]:
    """Return A and B of errors in the spatial domain."""
    return a_and_b(to_frequency(error), s)
