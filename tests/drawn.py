"""What a figure shows, read from its artists: the points of lines and marks, dashes, bars of error."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex


def line_points(line: Any) -> list[tuple[float, float]]:
    """The points of a line that are drawn."""
    data = np.asarray(line.get_xydata(), dtype=float)
    return [(float(x), float(y)) for x, y in data[~np.isnan(data).any(axis=1)]]


def curves_of(axes: Axes) -> list[Any]:
    """The lines that have points."""
    return [line for line in axes.lines if line_points(line)]


def mark_points(axes: Axes, face: str | None = None) -> list[tuple[float, float]]:
    """Where marks are, from left to right; with a colour, those that are filled with it."""
    marks = [marks for marks in axes.collections if isinstance(marks, PathCollection)]
    chosen = [m for m in marks if face is None or to_hex(m.get_facecolor()[0]) == to_hex(face)]
    return sorted((float(x), float(y)) for m in chosen for x, y in m.get_offsets())


def error_bars(axes: Axes) -> list[tuple[float, float, float]]:
    """(x, low, high) of the bars of error, from left to right."""
    bars = [segment for c in axes.collections if isinstance(c, LineCollection) for segment in c.get_segments()]
    return sorted((float(bar[0, 0]), float(bar[:, 1].min()), float(bar[:, 1].max())) for bar in bars)


def is_solid(line: Any) -> bool:
    """True for a line without dashes, however that is written."""
    return bool(line.get_linestyle() == "-" or line._unscaled_dash_pattern[1] is None)
