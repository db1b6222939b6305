"""The layers of the figure ``planes``: each function draws the rows of a layer and method, or all in perspective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.lines import Line2D

from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name

#: Method -> its colour.
Colours = Mapping[Any, Any]

#: Marks of points with a fixed meaning; all other points are small dots with their text beside them.
MARKS: dict[str, dict[str, Any]] = {
    "start": {"marker": "P", "color": "white", "markersize": 10},
    "minimum": {"marker": "*", "color": "#F0E442", "markersize": 16},
    "saddle": {"marker": "X", "color": "white", "markersize": 9},
}
_DOT = {"marker": "o", "color": style.INK, "markersize": 5}
#: Colour map of values around 0.
DIVERGING = "RdBu_r"
#: Layers that lie in the plane; the others are drawn in panels of curves.
_PLANE = {"surface", "region", "flow", "path", "arrow", "scatter"}
#: Tints of regions whose value is negative and positive.
_TINTS = ("#FDEFE4", "#E6F0FA")


def halo(width: float) -> list[Any]:
    """Return the effect that sets a line or text off from what is below it, ``width`` points in all."""
    return [patheffects.withStroke(linewidth=width, foreground="white")]


def coloured_methods(rows: pd.DataFrame) -> list[Any]:
    """Return the methods that get a colour, in the order drawn; references and single marks get none."""
    coloured = rows[~rows["layer"].isin(["level", "dots", "point", "label"]) & rows["method"].notna()]
    alone = rows[(rows["layer"] == "dots") & rows["method"].notna() & rows["paper_value"].isna()]
    return list(dict.fromkeys([*coloured["method"], *alone["method"]]))


def shows_plane(rows: pd.DataFrame) -> bool:
    """Return True if a panel shows the plane, False if it shows curves."""
    return bool(rows["layer"].isin(_PLANE).any())


def surface_colours(
    rows: pd.DataFrame, colour: str, decades: float | None, limit: float | None
) -> ScalarMappable | None:
    """Return one colour scale for all surfaces; None without a surface.

    Args:
        rows: the rows drawn.
        colour: "sequential" or "diverging"; the latter is white at 0.
        decades: None for a linear scale; else a sequential scale is logarithmic over this many powers of ten below the
            largest value, and a diverging one is linear below that range on both sides of 0.
        limit: values are clipped to [-limit, limit]; None: not clipped.
    """
    values = rows.loc[rows["layer"] == "surface", "value"]
    if values.empty:
        return None
    if limit is not None:
        values = values.clip(-limit, limit)
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1.0
    norm: Normalize
    if colour == "diverging":
        most = max(abs(low), abs(high))
        norm = SymLogNorm(most / 10**decades, vmin=-most, vmax=most) if decades else Normalize(-most, most)
    else:
        norm = LogNorm(max(low, high / 10**decades), high) if decades else Normalize(low, high)
    return ScalarMappable(norm, matplotlib.colormaps[DIVERGING if colour == "diverging" else style.SEQUENTIAL])


def legend_entry(rows: pd.DataFrame, method: Any, colour: Any, *, names: Mapping[str, str]) -> Line2D:
    """Return the legend entry of a method: a dot if its first layer is of points, else a line."""
    layer = rows.loc[(rows["method"] == method), "layer"].iloc[0]
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 6} if layer in ("scatter", "dots") else {}
    return Line2D([], [], color=colour, linewidth=2.6, label=display_name(str(method), names), **dot)


def draw_layers(axes: Axes, rows: pd.DataFrame, colour_of: Colours, colours: ScalarMappable | None) -> None:
    """Draw all layers of a panel from above, those that cover the others first."""
    surface, region, flow, level = (rows[rows["layer"] == name] for name in ("surface", "region", "flow", "level"))
    if not surface.empty and colours is not None:
        _surface(axes, surface, colours)
    if not region.empty:
        axes.contourf(*pivot_grid(region, "value"), levels=[-np.inf, 0.0, np.inf], colors=_TINTS)
    if not flow.empty:
        _flow(axes, flow, over=not surface.empty)
    if not level.empty:
        _level(axes, level)
    for layer, draw in _DRAWERS.items():
        for method, part in rows_by_method(rows[rows["layer"] == layer]):
            place = list(colour_of).index(method) if method in colour_of else None
            draw(axes, part, colour_of.get(method, style.INK), place)
    if shows_plane(rows):
        axes.grid(visible=False)


def draw_perspective(axes: Any, rows: pd.DataFrame, colour_of: Colours, colours: ScalarMappable | None) -> None:
    """Draw the surface, then its paths and points, raised by 2 % of its height so that it does not hide them."""
    surface, path, points = (rows[rows["layer"] == layer] for layer in ("surface", "path", "point"))
    lift = 0.0
    if not surface.empty and colours is not None:
        heights = surface.pivot(index="y", columns="x", values="value")
        lift = 0.02 * float(heights.max(axis=None) - heights.min(axis=None))
        look = {"linewidth": 0.2, "edgecolor": (1, 1, 1, 0.25), "alpha": 0.75}
        _parts.draw_surface(axes, heights, cmap=colours.get_cmap(), norm=colours.norm, **look)
    axes.computed_zorder = False
    for method, part in rows_by_method(path):
        line = {"color": colour_of.get(method, style.INK), "linewidth": 3, "zorder": 5}
        axes.plot(part["x"], part["y"], part["value"] + lift, **line)
    for row in points.to_dict("records"):
        x, y, z, name = row["x"], row["y"], row["value"] + lift, row["text"]
        axes.plot([x], [y], [z], linestyle="none", markeredgecolor=style.INK, zorder=6, **MARKS.get(str(name), _DOT))
        text = axes.text(x, y, z + 2 * lift, f"  {name}", fontsize=10.5, fontweight="bold", zorder=7)
        text.set_path_effects(halo(2.6))
    style.perspective(axes)
    axes.set_box_aspect((4, 4, 3), zoom=0.92)


def pivot_grid(rows: pd.DataFrame, column: str) -> tuple[Any, Any, Any]:
    """Return x (n,), y (m,) and the values of a column (m, n) over the grid of a surface or flow."""
    table = rows.pivot(index="y", columns="x", values=column)
    return table.columns.to_numpy(float), table.index.to_numpy(float), table.to_numpy(float)


def rows_by_method(rows: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Return pairs (method, its rows) in the order drawn; paths of one method with different texts are kept apart."""
    keys = ["method", "text"] if "text" in rows else ["method"]
    return [(part["method"].iloc[0], part) for _, part in rows.groupby(keys, dropna=False, sort=False)]


def draw_marginal(axes: Axes, rows: pd.DataFrame, colour_of: Colours, title: str) -> None:
    """Draw a histogram of the scatter's x above the panel, counts on a logarithmic scale, with the title above it."""
    part = rows[rows["layer"] == "scatter"]
    if part.empty:
        return
    above = axes.inset_axes((0.0, 1.03, 1.0, 0.22), sharex=axes)
    above.set(title=title, yscale="log")
    bins = np.linspace(part["x"].min(), part["x"].max(), 61)
    for method, own in rows_by_method(part):
        above.hist(own["x"], bins=list(bins), color=colour_of.get(method, style.INK), alpha=0.6, linewidth=0)
    above.grid(visible=False)
    above.set_yticks([], minor=False)
    above.set_yticks([], minor=True)
    above.spines[["left", "bottom"]].set_visible(False)
    above.tick_params(labelbottom=False, length=0)


def _surface(axes: Axes, rows: pd.DataFrame, colours: ScalarMappable) -> None:
    """Draw a surface as filled contours, or smoothly with the line of value 0 if its colours diverge."""
    x, y, values = pivot_grid(rows, "value")
    norm: Any = colours.norm
    if colours.get_cmap().name == DIVERGING:
        axes.pcolormesh(x, y, values, cmap=colours.get_cmap(), norm=norm, shading="gouraud", rasterized=True)
        if values.min() < 0 < values.max():
            # Contours are interpolated linearly: over powers of ten that is more accurate in normalised values.
            axes.contour(x, y, np.asarray(norm(values)), levels=[float(norm(0.0))], colors=style.INK, linewidths=1.1)
        return
    levels = norm.inverse(np.linspace(0, 1, 19))
    clipped = np.clip(values, levels[0], levels[-1])
    axes.contourf(x, y, clipped, levels=levels, cmap=colours.get_cmap(), norm=norm, alpha=0.85, extend="neither")
    axes.contour(x, y, clipped, levels=levels[1:], colors="white", linewidths=0.45, alpha=0.7)


def _flow(axes: Axes, rows: pd.DataFrame, *, over: bool) -> None:
    """Draw streamlines: thin and white on a surface, else grey and thicker where the flow is faster."""
    x, y, right = pivot_grid(rows, "dx")
    _, _, above = pivot_grid(rows, "dy")
    if min(len(x), len(y)) < 4:
        axes.quiver(*np.meshgrid(x, y), right, above, color=style.GREY)
        return
    x, y = np.linspace(x[0], x[-1], len(x)), np.linspace(y[0], y[-1], len(y))  # six digits are not evenly spaced
    speed = np.hypot(right, above)
    colour, width = ("white", 0.7) if over else ("#9AA5B1", 0.5 + 1.3 * speed / speed.max())
    axes.streamplot(x, y, right, above, density=1.1, linewidth=width, arrowsize=0.9, color=colour, zorder=1)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))


def _level(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw dashed horizontal lines with their texts and values, and the printed values beside them."""
    for row in rows.to_dict("records"):
        value = row["value"]
        axes.axhline(value, color=style.GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        look: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "color": style.GREY, "fontsize": 9.5}
        offset = (0, -13 if value == rows["value"].max() else 4)
        at = (0.98, value)
        text = axes.annotate(f"{row['text']}: {value:.4g}", at, offset, xycoords=("axes fraction", "data"), **look)
        text.set_path_effects(halo(2.6))
        if row["paper_value"] == row["paper_value"]:
            edge = {"transform": axes.get_yaxis_transform(), **_parts.printed_marker(style.INK)}
            axes.plot([0.02], [row["paper_value"]], "D", **edge)


def _path(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    axes.plot(rows["x"], rows["y"], color=colour, linewidth=2.2, path_effects=halo(3.6))


def _curve(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Draw a curve of the value over x, with marks if there are few points."""
    mark = style.MARKERS[place % len(style.MARKERS)] if len(rows) <= 15 and place is not None else ""
    width = 1.9 if len(rows) <= 60 else 1.2
    axes.plot(rows["x"], rows["value"], marker=mark, markersize=5, color=colour, linewidth=width)


def _band(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    axes.fill_between(rows["x"], rows["y"], rows["value"], color=colour, alpha=0.75, linewidth=0.8)


def _scatter(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Draw many points, such as end points of runs or a path that jumps."""
    axes.scatter(rows["x"], rows["y"], s=12, color=colour, alpha=0.5, linewidths=0, zorder=3, rasterized=True)


def _dots(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Draw single measured numbers as dots, and the printed ones as open diamonds."""
    axes.plot(rows["x"], rows["value"], "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=4)
    axes.plot(rows["x"], rows["paper_value"], "D", markersize=9, zorder=3, **_parts.printed_marker(style.INK))


def _arrow(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Draw an arrow from (x, y) to (x + dx, y + dy) for each row."""
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.4, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 15}
    for x, y, dx, dy in rows[["x", "y", "dx", "dy"]].itertuples(index=False):
        arrow: Any = axes.annotate("", (x + dx, y + dy), (x, y), arrowprops=look, zorder=5)
        arrow.arrow_patch.set_path_effects(halo(4.2))


def _point(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Draw a mark for each row with its text beside it, displaced by (dx, dy) points if the row says so."""
    for row in rows.to_dict("records"):
        mark: dict[str, Any] = {"linestyle": "none", "markeredgecolor": style.INK, "markeredgewidth": 1.1, "zorder": 6}
        axes.plot([row["x"]], [row["y"]], **mark, **MARKS.get(str(row["text"]), _DOT))
        left, right = axes.get_xlim()
        aside = row.get("dx", np.nan), row.get("dy", np.nan)
        offset = aside if np.isfinite(aside).all() else (-7 if row["x"] > left + 0.8 * (right - left) else 7, 6)
        _write(axes, row, offset, fontsize=10.5, ha="right" if offset[0] < 0 else "left")


def _label(axes: Axes, rows: pd.DataFrame, colour: Any, place: int | None) -> None:
    """Write the text of each row at its place."""
    for row in rows.to_dict("records"):
        _write(axes, row, (0, 0), fontsize=13, ha="center", va="center")


def _write(axes: Axes, row: Mapping[Any, Any], offset: tuple[float, float], **look: Any) -> None:
    """Write the text of a row, bold, so many points beside its place."""
    place = (row["x"], row["y"])
    text = axes.annotate(
        str(row["text"]), place, offset, textcoords="offset points", fontweight="bold", zorder=7, **look
    )
    text.set_path_effects(halo(2.6))


#: Layer -> what draws the rows of a method, in this order; given its colour and its place among the methods that have one.
_DRAWERS: dict[str, Callable[[Axes, pd.DataFrame, Any, int | None], None]] = {
    "band": _band, "path": _path, "curve": _curve, "scatter": _scatter, "dots": _dots, "arrow": _arrow, "point": _point,
    "label": _label,
}  # fmt: skip
