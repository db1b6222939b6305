"""Panels of lines and points drawn by seaborn from an item's rows, with the ticks, names and marks of this project.

seaborn gets what it has words for: panels by column; colours, line styles and marks by level; bands and bars of error. The rest
is added to its axes afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts

#: One standard deviation around a line.
BAND = so.Band(alpha=0.16)


def printed_dots(hue: str | None, **look: Any) -> so.Dot:
    """Return the mark of printed numbers: open diamonds in the colour of their line (variable ``edgecolor``), which they cover.

    No variable changes what a mark of seaborn is given itself: its colour is given only without a ``hue``, then of the only line.
    """
    alone = {} if hue else {"edgecolor": style.OKABE_ITO[0]}
    look = {"marker": "D", "pointsize": 6, "edgewidth": 1.6, "artist_kws": {"zorder": 3}, **alone, **look}
    return so.Dot(color="white", **look)


def plot_of(rows: pd.DataFrame, **variables: str | None) -> so.Plot:
    """Return a plot of rows in our theme, without layers."""
    return so.Plot(rows, **variables).theme(style.THEME)


def scale_of(looks: Mapping[Any, Any]) -> so.Nominal:
    """Return the scale by which each level has its colour, mark or line style, in this order."""
    return so.Nominal(dict(looks), order=list(looks))


def rows_to_plot(rows: pd.DataFrame, x: str, *lines: str | None) -> pd.DataFrame:
    """Return our rows in the order of ``x``, then a row for each printed number, so that no row has both.

    A line then breaks where runs diverged (the value is missing), not where only the paper has a number. ``low`` and ``high`` are
    one standard deviation below and above the value, and missing if nothing was repeated; ``alone`` is the value of a line of one
    point.

    Args:
        rows: rows of an item.
        x: factor of the horizontal axis.
        lines: columns whose levels have lines of their own, beside the metric.
    """
    ours = rows[rows["n"] > 0].sort_values(x, kind="stable")
    std = ours["std"].fillna(0.0) if ours["std"].notna().any() else ours["std"]
    keys = ["metric", *(column for column in lines if column is not None)]
    points = ours.groupby(keys, dropna=False)["metric"].transform("size")
    ours = ours.assign(low=ours["value"] - std, high=ours["value"] + std, paper_value=np.nan)
    ours["alone"] = ours["value"].where(points == 1)
    printed = rows.dropna(subset=["paper_value"]).sort_values(x, kind="stable").assign(value=np.nan)
    return pd.concat([ours, printed], ignore_index=True)


def line_plot(
    rows: pd.DataFrame,
    x: str,
    hue: str | None,
    colour: Mapping[Any, Any],
    *,
    spread: so.Band | so.Range = BAND,
    marker: Mapping[Any, str] | None = None,
    dash: str | None = None,
    strokes: Mapping[Any, Any] | None = None,
    **path: Any,
) -> so.Plot:
    """Return lines of ``rows_to_plot``, one standard deviation around them, and the printed numbers.

    Args:
        rows: what ``rows_to_plot`` returns.
        x: factor of the horizontal axis.
        hue: factor of the colours.
        colour: its levels -> colours.
        spread: how the deviation is drawn: ``so.Band`` or ``so.Range`` (bars).
        marker: its levels -> marks of the points; None: none, but on lines of a single point.
        dash: factor of the line styles.
        strokes: its levels -> line styles.
        path: properties that all lines have, such as ``linewidth``.
    """
    plotted = plot_of(rows, x=x, y="value", color=hue)
    if rows["low"].notna().any():
        plotted = plotted.add(spread, ymin="low", ymax="high", group=dash, legend=False)
    plotted = plotted.add(so.Path(**path), marker=hue if marker else None, linestyle=dash, legend=False)
    if marker is None:
        plotted = plotted.add(so.Dot(edgewidth=0), y="alone", legend=False)
    plotted = plotted.add(printed_dots(hue), y="paper_value", color=None, edgecolor=hue, legend=False)
    scales = {"color": colour, "edgecolor": colour, "marker": marker or {}, "linestyle": strokes or {}}
    return plotted.scale(**{name: scale_of(looks) for name, looks in scales.items()})


def draw_on(plotted: so.Plot, place: Any) -> None:
    """Draw a plot on axes or a figure; titles stay empty, and scales are plain ones, as if matplotlib had drawn it."""
    axes = [place] if not isinstance(place, Figure) else place.axes
    plotted.on(place).plot()
    for one in axes or place.axes:
        one.set_title("", visible=True)
        one.set(xscale="linear", yscale="linear")


def draw_facets(
    plotted: so.Plot,
    across: tuple[str | None, Sequence[Any]] = (None, [None]),
    down: tuple[str | None, Sequence[Any]] = (None, [None]),
    *,
    wrap: int | None = None,
    share_x: bool | str = True,
    share_y: bool | str = "row",
    width: float = 4.3,
    height: float = 3.3,
) -> tuple[Figure, Any]:
    """Return the figure of a plot and its axes (down, across): a panel for each pair of levels, those without rows too.

    Args:
        plotted: the plot.
        across: column whose levels are side by side, and the levels.
        down: column whose levels are one below the other; two or three of them alone stand side by side.
        wrap: panels in a row, where there is no ``down``; the axes are then a row of all of them.
        share_x: what panels share a horizontal axis: all (True), none (False), those of a column ("col").
        share_y: the same of the vertical one.
        width: of a panel in inches.
        height: of a panel in inches.
    """
    lying = len(across[1]) == 1 and len(down[1]) in (2, 3)
    columns, rows = (down, across) if lying else (across, down)
    many = len(columns[1])
    wrap = min(wrap, many) if wrap else None
    figure = style.room_for_panels(
        *((-(-many // wrap), wrap) if wrap else (len(rows[1]), many)), width=width, height=height
    )
    order = {name: list(levels) for name, (column, levels) in (("col", columns), ("row", rows)) if column}
    faceted = plotted.facet(columns[0], rows[0], order, wrap if columns[0] else None)
    draw_on(faceted.share(x=share_x, y=False if lying else share_y), figure)
    for axes in figure.axes:
        axes.set(xlabel="", ylabel="")
        axes.xaxis.label.set_visible(True)
        axes.yaxis.label.set_visible(True)
    return figure, np.array(figure.axes, dtype=object).reshape(len(down[1]), len(across[1]))


def legend_entries(colours: Mapping[Any, Any], texts: Mapping[Any, str], **look: Any) -> list[Any]:
    """Return an entry of a legend for each level: a line of its colour, with its mark if ``look`` maps levels to marks."""
    marker = look.pop("marker", {})
    look = {"linewidth": 1.9 if marker else 2.6, **look}
    return [
        Line2D([], [], color=colour, marker=marker.get(level), label=texts[level], **look)
        for level, colour in colours.items()
    ]


def name_panels(
    grid: Any,
    rows: pd.DataFrame,
    item: Item,
    x: str,
    across: tuple[str | None, Sequence[Any]],
    bands: Sequence[Sequence[str]],
    *,
    log_y: bool = False,
) -> None:
    """Give the panels of ``draw_facets`` titles, names of axes and ticks at the levels of ``x``; empty ones say why they are.

    Args:
        grid: the axes (down, across).
        rows: the rows drawn.
        item: the item as the study describes it.
        x: factor of the horizontal axis.
        across: column whose levels are side by side, and the levels.
        bands: for each row of panels, its metrics.
        log_y: use logarithmic vertical axes.
    """
    for (row, column), axes in np.ndenumerate(grid):
        panel, level = across[0], across[1][column]
        part = _parts.rows_at_level(rows[rows["metric"].isin(bands[row])], panel, level)
        if _parts.is_blank(part):
            _parts.mark_blank(axes, part)
        if log_y:
            _parts.set_log_y(axes)
        if axes.get_subplotspec().is_first_row():
            axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        if axes.get_subplotspec().is_last_row():
            _parts.set_level_ticks(axes, list(rows[x]), x, names=item.names)
        if column == 0:
            axes.set_ylabel(_parts.shared_axis_label(rows, bands[row], names=item.names))
