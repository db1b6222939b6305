"""Rows of a picture of a partition: runs of grid cells with one label, lines, points, and numbers that claims read."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from robustscape.theory.ma2025._frequency_regression import Array
from robustscape.theory.ma2025._sign_partitions import Mask

Rows = list[dict[str, Any]]

#: Where in its cell a grid point lies: an irrational share, so that none is on a line of a partition.
PLACE = (5**0.5 - 1) / 2


def cell_points(low: float, high: float, count: int) -> Array:
    """Return a point in each of ``count`` equal cells of an interval."""
    return low + (np.arange(count) + PLACE) * (high - low) / count


def run_rows(panel: str, masks: dict[str, Mask], across: tuple[float, float], up: tuple[float, float]) -> Rows:
    """Return rows of layer "run", bottom to top: in the row of cells centred at y, ``dx`` from x on have a label.

    Args:
        panel: the panel's title.
        masks: label -> where it applies (rows, columns), rows from below; of several labels the first counts.
        across: the interval of the columns.
        up: that of the rows.
    """
    names = list(masks)
    high, wide = next(iter(masks.values())).shape
    labels = np.full((high, wide), -1)
    for number, name in reversed(list(enumerate(names))):
        labels[masks[name]] = number
    cell = (across[1] - across[0]) / wide
    rows: Rows = []
    for j, line in enumerate(labels):
        y = up[0] + (j + 0.5) * (up[1] - up[0]) / high
        begin = 0
        for number, run in itertools.groupby(line.tolist()):
            count = len(list(run))
            if number >= 0:
                rows.append(
                    {
                        "panel": panel, "layer": "run", "label": names[number], "x": round(across[0] + begin * cell, 6),
                        "dx": round(count * cell, 6), "y": round(y, 6),
                    }
                )  # fmt: skip
            begin += count
    return rows


def path_rows(panel: str, layer: str, label: str, x: Any, y: Any) -> Rows:
    """Return rows of layer "line" or "steps" through the points."""
    return [
        {"panel": panel, "layer": layer, "label": label, "x": round(float(a), 6), "y": round(float(b), 6)}
        for a, b in zip(np.asarray(x), np.asarray(y), strict=True)
    ]


def finished_rows(drawn: Rows, outcomes: Rows) -> Rows:
    """Return all rows: drawn ones numbered by ``point`` with metric partition_label, outcomes as they are."""
    shown = [{**row, "metric": "partition_label", "value": 1.0, "unit": "1", "point": n} for n, row in enumerate(drawn)]
    return [*shown, *({**row, "unit": "1"} for row in outcomes)]
