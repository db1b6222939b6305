"""ma2025 figure 4.9: the partition of (|A|, |B|) that decides how far signGD moves the irrelevant weight."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import a_and_b, to_frequency, to_spatial
from robustscape.theory.ma2025._region_rows import cell_points, finished_rows, path_rows, run_rows
from robustscape.theory.ma2025._sign_descent import descend_to_oscillation, errors_of, random_starts, spatial_step
from robustscape.theory.ma2025._sign_partitions import INNER, WHOLE, growth_partition
from robustscape.theory.ma2025.irrelevant_weight_growth import count_errors

#: The line through (s_0 eta, s_0 eta) of slope 3 s_1 / s_0. For s_1 > s_0 / 3 it bounds P_3; below it is drawn, too, and bounds
#: nothing.
STEEP_LINE = "|B| = 3s₁/s₀ |A| − (3s₁ − s₀)η"
#: Range drawn, in s_0 eta, and starts of the paths drawn.
REACH = 6.0
PATHS = ((5.7, 5.2), (2.1, 5.6), (5.6, 2.6), (4.2, 0.3))


def growth_regions(
    *,
    ratios: list[Annotated[float, Field(gt=0)]] = [1.0, 1 / 9],  # noqa: B006  (read from the syntax tree as a schema)
    points: Annotated[int, Field(ge=3)] = 600,
    starts: Annotated[int, Field(ge=50)] = 4000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return for each ratio s_1 / s_0 the partition, the work's three lines, paths of signGD, and the counts of 4.D.7.

    count_below and count_above: by how much N, the number of t < T with |A| <= |B|, falls below the smallest and above the
    largest prediction, at most, over random starts in a partition. The parts P_31, P_41 and P_42 are drawn by their
    definitions, with which the proof exchanges P_41 and P_42.

    Args:
        ratios: s_1 / s_0, a panel each.
        points: cells of the grid drawn, in each direction.
        starts: random starts of the counts, of each ratio.
        seed: of the starts.
    """
    generator = np.random.default_rng(seed)
    a, b = np.meshgrid(cell_points(0, REACH, points), cell_points(0, REACH, points))
    drawn: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for ratio in ratios:
        s, rate, panel = np.array([1.0, ratio, 0.0]), 1.0, f"s₁ / s₀ = {ratio:.3g}"
        masks = growth_partition(a, b, s, rate)
        above = ratio > 1 / 3
        ordered = {label: masks[label] for label in (*INNER[above], *WHOLE[above])}
        drawn += run_rows(panel, ordered, (0, REACH), (0, REACH))
        ends, slope, room = np.array([1.0, REACH]), 3 * ratio, 3 * ratio - 1
        drawn += path_rows(panel, "line", STEEP_LINE, ends, slope * ends - room)
        drawn += path_rows(panel, "line", f"{STEEP_LINE}, s₀η to the right", ends + 1, slope * ends - room)
        drawn += path_rows(panel, "line", "|A| = |B|", np.array([0.0, REACH]), np.array([0.0, REACH]))
        for place in PATHS:
            path = [errors_of(np.array(place[0]), np.array(place[1]), s)]
            while abs(a_and_b(path[-1], s)[0]) >= s[0] * rate:
                path.append(to_frequency(spatial_step(to_spatial(path[-1]), s, rate)))
            drawn += path_rows(panel, "steps", f"from {place}", *(np.abs(v) for v in a_and_b(np.stack(path), s)))
        start_f = random_starts(s, rate, starts, generator)
        for label, (below, beyond, count) in count_errors(
            start_f, descend_to_oscillation(start_f, s, rate), s, rate
        ).items():
            common = {"ratio": ratio, "partition": label, "starts": count}
            outcomes += [
                {**common, "metric": "count_below", "value": below},
                {**common, "metric": "count_above", "value": beyond},
            ]
    return finished_rows(drawn, outcomes)
