"""The layers of the figure ``planes`` in perspective: a surface with paths and points on it."""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
from matplotlib.cm import ScalarMappable

from robustscape.report import style
from robustscape.report.figures import _layers, _parts


def draw_perspective(axes: Any, rows: pd.DataFrame, look: _layers.Look, colours: ScalarMappable | None) -> None:
    """Draw the surface, then its paths and points, raised by 2 % of its height so that it does not hide them."""
    surface = rows[rows["layer"] == "surface"]
    lift = 0.0
    if not surface.empty and colours is not None:
        heights = surface.pivot(index="y", columns="x", values="value")
        lift = 0.02 * float(heights.max(axis=None) - heights.min(axis=None))
        colour = {"cmap": colours.get_cmap(), "norm": colours.norm}
        _parts.draw_surface(axes, heights, linewidth=0.2, edgecolor=(1, 1, 1, 0.25), alpha=0.75, **colour)
    axes.computed_zorder = False
    for method, part in _layers.rows_by_method(rows[rows["layer"] == "path"]):
        axes.plot(part["x"], part["y"], part["value"] + lift, color=look.get(method, style.INK), linewidth=3, zorder=5)
    for row in rows[rows["layer"] == "point"].itertuples():
        place = cast(float, row.x), cast(float, row.y), cast(float, row.value) + lift
        mark = _layers.MARKS.get(str(row.text), {"marker": "o", "color": style.INK, "markersize": 5})
        axes.plot(*([c] for c in place), linestyle="none", markeredgecolor=style.INK, zorder=6, **mark)
        text = axes.text(*place[:2], place[2] + 2 * lift, f"  {row.text}", fontsize=10.5, fontweight="bold", zorder=7)
        text.set_path_effects(_layers.HALO)
    style.perspective(axes)
    axes.set_box_aspect((4, 4, 3), zoom=0.92)
