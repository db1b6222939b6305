"""ma2025 figure 4.8: where (A, B) is transient and where stationary once |A| < s_0 eta, and what signGD does from there."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import Array, a_and_b, to_frequency, to_spatial
from robustscape.theory.ma2025._region_rows import cell_points, finished_rows, path_rows, run_rows
from robustscape.theory.ma2025._sign_descent import errors_of, iterate_steps, spatial_step
from robustscape.theory.ma2025._sign_partitions import STATIONARY, TRANSIENT, stationary_partition

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
    number of steps from a transient label to a stationary one (the work: 3); share_leaving, starts with a stationary label
    that have another one after a step, where R_12 after R_31 counts as R_31, between which A alternates; late_e0, the largest
    |e~_0| / eta after ``steps``, at most sqrt(3) (remark 4.D.5 has 2/sqrt(3), which its own R_31 passes).

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
    after = stationary_partition(*_inside(path[1], s), s, rate)
    stays = np.any([after[label] for label in STATIONARY], axis=0) | (before["R31"] & after["R12"])
    late = np.abs(to_frequency(np.stack([iterate_steps(error, s, rate, n) for n in (steps, steps + 1)]))[..., 0])
    return {
        "most_labels": float(count.max()),
        "fewest_labels": float(count.min()),
        "steps_to_stationary": float(longest if settled.all() else math.inf),
        "share_leaving": float((~waiting & ~stays).mean()),
        "late_e0": float(late.max()) / rate,
    }


def _inside(error: Array, s: Array) -> tuple[Array, Array]:
    """Return A and B of errors in the spatial domain."""
    return a_and_b(to_frequency(error), s)
