"""Panels of lines and points drawn by seaborn from an item's rows, with the ticks, names and marks of this project.

seaborn gets what it has words for: panels by column; colours, line styles and marks by level; bands and bars of error. The rest
is added to its axes afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import level_texts

#: One standard deviation around a line.
BAND = so.Band(alpha=0.16)


class Look(NamedTuple):
    """How a line is drawn: its dashes, the share of light that its colour keeps, its width in points and its opacity."""

    stroke: Any = "-"
    light: float = 1.0
    width: float = 1.9
    alpha: float = 1.0


#: The dark ones and the black one can be seen on top of a line that they follow.
LOOKS = {
    "solid": Look(),
    "broad": Look(width=2.6, alpha=0.85),
    "faint": Look(width=1.2, alpha=0.45),
    "dashed": Look((0, (4, 2))),
    "dark dashed": Look((0, (4, 2.2)), light=0.55),
    "dark dotted": Look((0, (1, 1.5)), light=0.3),
    "black dashed": Look((0, (3, 2.5)), light=0.0, width=1.1),
}


@dataclass(frozen=True)
class Lines:
    """The lines of a figure: each level of ``hue`` has a colour and a mark, each level of ``dash`` a look."""

    hue: str | None
    dash: str | None
    colour: dict[Any, Any]
    marker: dict[Any, str]
    look: dict[Any, Look]

    def of_rows(self, rows: pd.DataFrame) -> list[str]:
        """Return the name of the line that each row is on."""
        levels = [[None] * len(rows) if column is None else rows[column] for column in (self.dash, self.hue)]
        return [f"{dash} {hue}" for dash, hue in zip(*levels, strict=True)]

    def scales(self) -> dict[str, so.Nominal]:
        """Return the scales of seaborn that give each line its look; marks are on the points of solid lines alone."""
        lines = {f"{dash} {hue}": (hue, look) for dash, look in self.look.items() for hue in self.colour}
        colours = {line: style.darker(self.colour[hue], look.light) for line, (hue, look) in lines.items()}
        looks = {
            "color": colours,
            "edgecolor": colours,
            "marker": {line: self.marker[hue] * (look.stroke == "-") for line, (hue, look) in lines.items()},
            "linestyle": {dash: look.stroke for dash, look in self.look.items()},
            "linewidth": {dash: look.width for dash, look in self.look.items()},
            "alpha": {dash: look.alpha for dash, look in self.look.items()},
        }
        return {name: scale_of(look) for name, look in looks.items()}

    def legend_entries(self, item: Item) -> list[Any]:
        """Return an entry for each level of both factors."""
        colour, look = self.colour if self.hue else {}, self.look if self.dash else {}
        texts = level_texts(look, item.names)
        return legend_entries(colour, level_texts(colour, item.names), marker=self.marker) + [
            Line2D(
                [], [], color=style.darker(style.GREY, one.light), linestyle=one.stroke, linewidth=one.width,
                alpha=one.alpha, label=texts[level],
            )
            for level, one in look.items()
        ]  # fmt: skip


def lines_of(
    rows: pd.DataFrame,
    item: Item,
    hue: str | None,
    dash: str | None = None,
    looks: Mapping[str, str] | None = None,
    *,
    marked: bool = False,
) -> Lines:
    """Return the lines of rows.

    Args:
        rows: rows of an item.
        item: the item as the study describes it.
        hue: factor of the colours.
        dash: factor of the line styles.
        looks: its levels -> names in ``LOOKS``; None: solid, then dashed and dotted, and dark.
        marked: mark the points.
    """
    levels = _parts.distinct_levels(rows, dash)
    looks = looks or dict(zip(map(str, levels), ("solid", "dark dashed", "dark dotted"), strict=False))
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    marker = dict(zip(colour, itertools.cycle(style.MARKERS if marked else ("",))))
    found = {str(level): level for level in levels}
    if strange := set(found) - set(looks):
        raise ConfigError(f"figure '{item.title}': no look for {sorted(strange)} of '{dash}'.")
    return Lines(hue, dash, colour, marker, {found[level]: LOOKS[looks[level]] for level in looks if level in found})


def plot_of(rows: pd.DataFrame, **variables: str | None) -> so.Plot:
    """Return a plot of rows in our theme, without layers."""
    return so.Plot(rows, **variables).theme(style.THEME)


def scale_of(looks: Mapping[Any, Any]) -> so.Nominal:
    """Return the scale by which each level has its colour, mark or line style, in this order."""
    return so.Nominal(dict(looks), order=list(looks))


def rows_to_plot(rows: pd.DataFrame, x: str, lines: Lines, *panels: str | None) -> pd.DataFrame:
    """Return our rows in the order of ``x``, then a row for each printed number, so that no row has both.

    A line then breaks where runs diverged (the value is missing), not where only the paper has a number. ``low`` and ``high`` are
    one standard deviation below and above the value, and missing if nothing was repeated; ``alone`` is the value of a line of one
    point; ``line`` says which line a row is on.

    Args:
        rows: rows of an item.
        x: factor of the horizontal axis.
        lines: the lines of the figure.
        panels: columns of the panels, beside the metric.
    """
    rows = rows.assign(line=lines.of_rows(rows)).sort_values(x, kind="stable")
    ours = rows[rows["n"] > 0]
    std = ours["std"].fillna(0.0) if ours["std"].notna().any() else ours["std"]
    keys = ["metric", "line", *(column for column in panels if column is not None)]
    points = ours.groupby(keys, dropna=False)["metric"].transform("size")
    ours = ours.assign(low=ours["value"] - std, high=ours["value"] + std, paper_value=np.nan)
    ours["alone"] = ours["value"].where(points == 1)
    return pd.concat([ours, rows.dropna(subset=["paper_value"]).assign(value=np.nan)], ignore_index=True)


def line_plot(rows: pd.DataFrame, x: str, lines: Lines, **path: Any) -> so.Plot:
    """Return lines of ``rows_to_plot``, a band of one standard deviation, and the printed numbers as open diamonds.

    Args:
        rows: what ``rows_to_plot`` returns.
        x: factor of the horizontal axis.
        lines: the lines of the figure.
        path: properties that all lines have, whatever their looks, such as ``linewidth``.
    """
    marked = any(lines.marker.values())
    looks = dict.fromkeys(("linestyle", "linewidth", "alpha"), lines.dash) | {"marker": "line" if marked else None}
    plotted = plot_of(rows, x=x, y="value", color="line")
    if rows["low"].notna().any():
        plotted = plotted.add(BAND, ymin="low", ymax="high", legend=False)
    plotted = plotted.add(so.Path(**{"pointsize": 5, **path}), **looks, legend=False)
    if not marked:
        plotted = plotted.add(so.Dot(edgewidth=0), y="alone", legend=False)
    printed = so.Dot(color="white", marker="D", pointsize=6, edgewidth=1.6, artist_kws={"zorder": 3})
    plotted = plotted.add(printed, y="paper_value", color=None, edgecolor="line", legend=False)
    return plotted.scale(**lines.scales())


def draw_on(plotted: so.Plot, place: Any) -> None:
    """Draw a plot on axes or a figure; titles stay empty, and scales are plain ones, as if matplotlib had drawn it."""
    plotted.on(place).plot()
    for axes in place.axes if isinstance(place, Figure) else [place]:
        axes.set_title("", visible=True)
        axes.set(xscale="linear", yscale="linear", xlabel="", ylabel="")
        axes.xaxis.label.set_visible(True)
        axes.yaxis.label.set_visible(True)


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
    shape = (-(-many // wrap), wrap) if wrap else (len(rows[1]), many)
    figure = style.room_for_panels(*shape, width=width, height=height)
    order = {name: list(levels) for name, (column, levels) in (("col", columns), ("row", rows)) if column}
    faceted = plotted.facet(columns[0], rows[0], order, wrap if columns[0] else None)
    draw_on(faceted.share(x=share_x, y=False if lying else share_y), figure)
    return figure, np.array(figure.axes, dtype=object).reshape(len(down[1]), len(across[1]))


def legend_entries(colours: Mapping[Any, Any], texts: Mapping[Any, str], **look: Any) -> list[Any]:
    """Return an entry of a legend for each level: a line of its colour, with its mark if ``look`` maps levels to marks."""
    marker = look.pop("marker", {})
    look = {"linewidth": 1.9 if any(marker.values()) else 2.6, "markersize": 5, **look}
    return [
        Line2D([], [], color=colour, marker=marker.get(level), label=texts[level], **look)
        for level, colour in colours.items()
    ]
