"""The layers of the figure ``planes``, seen from above: each function draws the rows of one layer into the axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

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
Look = dict[Any, Any]

#: Marks of points with a fixed meaning; all other points are small dots with their text beside them.
MARKS: dict[str, dict[str, Any]] = {
    "start": {"marker": "P", "color": "white", "markersize": 10},
    "minimum": {"marker": "*", "color": "#F0E442", "markersize": 16},
    "saddle": {"marker": "X", "color": "white", "markersize": 9},
}
#: Colour map of values around 0.
DIVERGING = "RdBu_r"
HALO: list[Any] = [patheffects.withStroke(linewidth=2.6, foreground="white")]
#: Layers that lie in the plane; the others are drawn in panels of curves.
_PLANE = {"surface", "region", "flow", "path", "arrow", "scatter"}
#: Tints of regions whose value is negative and positive.
_TINTS = ("#FDEFE4", "#E6F0FA")


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
    low, high = float(values.min()), float(values.max())
    if limit is not None:
        low, high = max(low, -limit), min(high, limit)
    high = high if high > low else low + 1.0
    norm: Normalize
    if colour == "diverging":
        most = max(abs(low), abs(high)) or 1.0
        norm = SymLogNorm(most / 10**decades, vmin=-most, vmax=most) if decades else Normalize(-most, most)
        return ScalarMappable(norm, matplotlib.colormaps[DIVERGING])
    norm = LogNorm(max(low, high / 10**decades), high) if decades else Normalize(low, high)
    return ScalarMappable(norm, matplotlib.colormaps[style.SEQUENTIAL])


def legend_entry(rows: pd.DataFrame, method: Any, colour: Any, *, names: Mapping[str, str]) -> Line2D:
    """Return the legend entry of a method: a dot if its first layer is of points, else a line."""
    layer = rows.loc[(rows["method"] == method), "layer"].iloc[0]
    look: dict[str, Any] = {"color": colour, "linewidth": 2.6, "label": display_name(str(method), names)}
    if layer in ("scatter", "dots"):
        look |= {"linestyle": "none", "marker": "o", "markersize": 6}
    return Line2D([], [], **look)


def draw_layers(axes: Axes, rows: pd.DataFrame, look: Look, colours: ScalarMappable | None) -> None:
    """Draw all layers of a panel, those that cover the others first."""
    drawers: dict[str, Callable[[Axes, pd.DataFrame, Look], None]] = {
        "band": _band, "level": _level, "path": _path, "curve": _curve, "scatter": _scatter,
        "dots": _dots, "arrow": _arrow, "point": _point, "label": _label,
    }  # fmt: skip
    surface = rows[rows["layer"] == "surface"]
    if not surface.empty and colours is not None:
        _surface(axes, surface, colours)
    region = rows[rows["layer"] == "region"]
    if not region.empty:
        axes.contourf(*pivot_grid(region, "value"), levels=[-np.inf, 0.0, np.inf], colors=_TINTS)
    flow = rows[rows["layer"] == "flow"]
    if not flow.empty:
        _flow(axes, flow, over=not surface.empty)
    for layer, drawer in drawers.items():
        part = rows[rows["layer"] == layer]
        if not part.empty:
            drawer(axes, part, look)
    if shows_plane(rows):
        axes.grid(visible=False)


def pivot_grid(rows: pd.DataFrame, column: str) -> tuple[Any, Any, Any]:
    """Return x (n,), y (m,) and the values of a column (m, n) over the grid of a surface or flow."""
    table = rows.pivot(index="y", columns="x", values=column)
    return table.columns.to_numpy(float), table.index.to_numpy(float), table.to_numpy(float)


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
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])


def rows_by_method(rows: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Return pairs (method, its rows) in the order drawn; paths of one method with different texts are kept apart."""
    keys = ["method", "text"] if "text" in rows else ["method"]
    return [(part["method"].iloc[0], part) for _, part in rows.groupby(keys, dropna=False, sort=False)]


def _path(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    for method, part in rows_by_method(rows):
        outline = [patheffects.withStroke(linewidth=3.6, foreground="white")]
        axes.plot(part["x"], part["y"], color=look.get(method, style.INK), linewidth=2.2, path_effects=outline)


def _curve(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw curves of the value over x, with marks if there are few points."""
    for method, part in rows_by_method(rows):
        marked = len(part) <= 15 and method in look
        mark = style.MARKERS[list(look).index(method) % len(style.MARKERS)] if marked else ""
        stroke = {"color": look.get(method, style.INK), "linewidth": 1.9 if len(part) <= 60 else 1.2}
        axes.plot(part["x"], part["value"], marker=mark, markersize=5, **stroke)


def _band(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    for method, part in rows_by_method(rows):
        colour = look.get(method, style.INK)
        axes.fill_between(part["x"], part["y"], part["value"], color=colour, alpha=0.75, linewidth=0.8)


def _level(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw a dashed horizontal line with its text and value, and the printed value beside it."""
    highest = rows["value"].max()
    for row in rows.itertuples():
        axes.axhline(cast(float, row.value), color=style.GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        text = axes.annotate(
            f"{row.text}: {row.value:.4g}", (0.98, cast(float, row.value)), xycoords=("axes fraction", "data"),
            xytext=(0, -13 if row.value == highest else 4), textcoords="offset points", ha="right",
            color=style.GREY, fontsize=9.5,
        )  # fmt: skip
        text.set_path_effects(HALO)
        if row.paper_value == row.paper_value:
            edge = {"transform": axes.get_yaxis_transform(), **_parts.printed_marker(style.INK)}
            axes.plot([0.02], [row.paper_value], "D", **edge)


def _scatter(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw many points, such as end points of runs or a path that jumps."""
    for method, part in rows_by_method(rows):
        dots = {"s": 12, "color": look.get(method, style.INK), "alpha": 0.5, "linewidths": 0, "zorder": 3}
        axes.scatter(part["x"], part["y"], rasterized=True, **dots)


def draw_marginal(axes: Axes, rows: pd.DataFrame, look: Look, title: str) -> None:
    """Draw a histogram of the scatter's x above the panel, counts on a logarithmic scale, with the title above it."""
    part = rows[rows["layer"] == "scatter"]
    if part.empty:
        return
    above = axes.inset_axes((0.0, 1.03, 1.0, 0.22), sharex=axes)
    above.set_title(title)
    above.set_yscale("log")
    bins = np.linspace(part["x"].min(), part["x"].max(), 61)
    for method, own in rows_by_method(part):
        above.hist(own["x"], bins=list(bins), color=look.get(method, style.INK), alpha=0.6, linewidth=0)
    above.grid(visible=False)
    above.set_yticks([], minor=False)
    above.set_yticks([], minor=True)
    above.spines[["left", "bottom"]].set_visible(False)
    above.tick_params(labelbottom=False, length=0)


def _dots(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw single measured numbers as dots, and the printed ones as open diamonds."""
    for method, part in rows_by_method(rows):
        colour = look.get(method, style.INK)
        axes.plot(part["x"], part["value"], "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=4)
        printed = part.dropna(subset=["paper_value"])
        axes.plot(printed["x"], printed["paper_value"], "D", markersize=9, zorder=3, **_parts.printed_marker(style.INK))


def _arrow(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw an arrow from (x, y) to (x + dx, y + dy) for each row."""
    for row in rows.itertuples():
        x, y, dx, dy = (cast(float, getattr(row, column)) for column in ("x", "y", "dx", "dy"))
        arrow: Any = axes.annotate(
            "", (x + dx, y + dy), (x, y),
            arrowprops={"arrowstyle": "-|>", "color": look.get(row.method, style.INK), "linewidth": 2.4,
                        "shrinkA": 0, "shrinkB": 0, "mutation_scale": 15},
            zorder=5,
        )  # fmt: skip
        arrow.arrow_patch.set_path_effects([patheffects.withStroke(linewidth=4.2, foreground="white")])


def _point(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw a mark for each row with its text beside it, displaced by (dx, dy) points if the row says so."""
    for row in rows.itertuples():
        x, y = cast(float, row.x), cast(float, row.y)
        known = MARKS.get(str(row.text))
        mark = known or {"marker": "o", "color": style.INK, "markersize": 5}
        axes.plot([x], [y], linestyle="none", markeredgecolor=style.INK, markeredgewidth=1.1, zorder=6, **mark)
        left, right = axes.get_xlim()
        late = x > left + 0.8 * (right - left)
        aside = (getattr(row, "dx", np.nan), getattr(row, "dy", np.nan))
        offset = aside if np.isfinite(aside).all() else (-7 if late else 7, 6)
        text = axes.annotate(
            str(row.text), (x, y), xytext=offset, textcoords="offset points", fontsize=10.5, fontweight="bold",
            ha="right" if offset[0] < 0 else "left", zorder=7,
        )  # fmt: skip
        text.set_path_effects(HALO)


def _label(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Write the text of each row at its place."""
    for row in rows.itertuples():
        text = axes.text(
            cast(float, row.x), cast(float, row.y), str(row.text), ha="center", va="center", fontsize=13,
            fontweight="bold", zorder=7,
        )  # fmt: skip
        text.set_path_effects(HALO)
