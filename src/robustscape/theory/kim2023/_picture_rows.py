"""Rows of toys in one tidy table: what a figure draws (grids, paths, arrows) and the numbers that claims read.

A drawn row has ``view`` (which figure), ``panel`` (None: all of them), ``layer`` (how the figure ``planes`` draws it), ``method``
(its colour), ``point`` (its place in the drawing order), coordinates ``x``, ``y``, extents ``dx``, ``dy``, a ``text``, and the
``value`` of ``metric`` there. Drawn numbers are rounded to six significant digits, finer than a picture can show.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robustscape.theory.kim2023._toys import Array

Rows = list[dict[str, Any]]
#: Columns that say how a row was made.
Protocol = dict[str, Any]
Layer = Literal[
    "surface", "region", "flow", "path", "point", "arrow", "scatter", "curve", "dots", "band", "level", "label"
]


def drawn_rows(
    view: str,
    layer: Layer,
    x: Any,
    y: Any,
    value: Any = 0.0,
    *,
    panel: str | None = None,
    method: str | None = None,
    metric: str = "loss",
    dx: Any = None,
    dy: Any = None,
    text: str | None = None,
    unit: str = "1",
    **protocol: Any,
) -> Rows:
    """Return one row per point; scalars are broadcast over the points. ``number_points`` adds the column ``point``."""
    numbers = {"x": x, "y": y, "value": value, "dx": dx, "dy": dy}
    sizes = [np.size(number) for number in numbers.values() if number is not None]
    size = 0 if 0 in sizes else max(sizes)
    columns = {
        key: [] if size == 0 else np.broadcast_to(np.asarray(number, float).ravel(), size).tolist()
        for key, number in numbers.items()
        if number is not None
    }
    common = {"view": view, "panel": panel, "layer": layer, "method": method, "metric": metric, "unit": unit}
    if text is not None:
        common["text"] = text
    return [
        {**common, **{key: float(f"{values[i]:.6g}") for key, values in columns.items()}, **protocol}
        for i in range(size)
    ]


def outcome_row(
    view: str, metric: str, value: float, *, method: str | None = None, unit: str = "1", **more: Any
) -> Rows:
    """Return a list with one row: a number that is not drawn, in full precision."""
    return [{"view": view, "method": method, "metric": metric, "value": float(value), "unit": unit, **more}]


def surface_rows(view: str, function: Any, x: Array, y: Array, **more: Any) -> Rows:
    """Return the rows of a function over the grid ``x`` by ``y``."""
    across, up = np.meshgrid(x, y)
    return drawn_rows(view, "surface", across, up, function(across, up), **more)


def number_points(rows: Rows) -> Rows:
    """Return ``rows`` with the column ``point``, counted within each view; rows that are not drawn get none."""
    counts: dict[str, int] = {}
    for row in rows:
        if "layer" in row:
            row["point"] = counts.setdefault(row["view"], 0)
            counts[row["view"]] += 1
    return rows


def evenly_spaced_indices(length: int, most: int) -> NDArray[np.int64]:
    """Return indices of at most ``most`` of ``length`` entries, evenly spaced, the first and the last included."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))
