"""Curves on the left, a map over a plane on the right: the two halves of kim2023 figures 5.3 and 5.4."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def curves_and_map(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str,
    curve: str,
    across: str,
    up: str,
    surface: str,
    ends: str | None = None,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return curves (mean and one standard deviation against ``x``) and a map with contours over ``across`` and ``up``.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor of the curves.
        hue: factor of the lines.
        curve: metric of the curves.
        across: numeric factor of the map's columns.
        up: numeric factor of the map's rows.
        surface: metric of the map.
        ends: metric that does not depend on ``x``; its printed numbers are marked at the end of the curves.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, across, up)
    lines = rows[(rows["metric"] == curve) & rows[x].notna()]
    plane = rows[(rows["metric"] == surface) & rows[across].notna() & rows[up].notna()]
    _parts.refuse_duplicates(lines, item, x, hue)
    _parts.refuse_duplicates(plane, item, across, up)

    figure, grid = style.panel_figure(1, 2, width=4.9, height=4.0)
    final = rows[(rows["metric"] == ends) & rows[x].isna()]
    _curves(grid[0, 0], lines, final, x, hue, colours=item.colours, names=item.names)
    grid[0, 0].set_xlabel(display_name(x, item.names))
    grid[0, 0].set_ylabel(_parts.axis_label(rows, curve, names=item.names))
    _map(figure, grid[0, 1], plane, across, up, _parts.axis_label(rows, surface, names=item.names), names=item.names)
    style.dress_figure(
        figure, item.title, notes.figure_footer(pd.concat([lines, plane]), acknowledged, names=item.names)
    )
    return figure


def _curves(
    axes: Axes,
    rows: pd.DataFrame,
    final: pd.DataFrame,
    x: str,
    hue: str,
    *,
    colours: Mapping[str, int],
    names: Mapping[str, str],
) -> None:
    known = _parts.distinct_levels(rows, hue)
    texts = level_texts(known, names)
    handles = []
    for level, colour in zip(known, style.colours(known, colours), strict=True):
        own = _parts.rows_at_level(rows, hue, level).sort_values(x)
        printed = _parts.rows_at_level(final, hue, level).dropna(subset=["paper_value"])
        axes.plot(own[x], own["value"], color=colour)
        _parts.draw_deviation_band(axes, own[x], own, colour)
        for value in printed["paper_value"]:
            axes.plot([own[x].max()], [value], "D", clip_on=False, **_parts.printed_marker(colour))
        handles.append(Line2D([], [], color=colour, linewidth=2.6, label=texts[level]))
    if rows.empty:
        _parts.mark_blank(axes, rows)
        return
    if final["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())
    axes.margins(y=0.2)  # room for the legend, which does not see the bands
    axes.legend(handles=handles, title=display_name(hue, names), loc="best", alignment="left")


def _map(
    figure: Figure, axes: Axes, rows: pd.DataFrame, across: str, up: str, label: str, *, names: Mapping[str, str]
) -> None:
    """Draw the map with labelled contours and its colour bar."""
    axes.grid(visible=False)
    axes.set_xlabel(display_name(across, names))
    axes.set_ylabel(display_name(up, names))
    if rows.empty:
        _parts.mark_blank(axes, rows)
        return
    table = rows.pivot(index=up, columns=across, values="value").sort_index().sort_index(axis=1)
    horizontal, vertical = table.columns.to_numpy(float), table.index.to_numpy(float)
    values = table.to_numpy(float)
    mesh = axes.pcolormesh(horizontal, vertical, np.ma.masked_invalid(values), cmap=style.SEQUENTIAL, shading="gouraud")
    if values.max() > values.min():
        contours = axes.contour(horizontal, vertical, values, levels=8, colors="white", linewidths=0.8, alpha=0.9)
        for text in axes.clabel(contours, fontsize=8):
            text.set_clip_on(False)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
