"""Curves on the left, a map over a plane on the right: the two halves of kim2023 figures 5.3 and 5.4."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
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
    final = rows[(rows["metric"] == ends) & rows[x].isna()]
    figure, ((left, right),) = style.panel_figure(1, 2, width=4.9, height=4.0)
    _curves(left, lines, final, x, hue, item)
    left.set_xlabel(display_name(x, item.names))
    left.set_ylabel(_parts.axis_label(rows, curve, names=item.names))
    _map(figure, right, plane, across, up, _parts.axis_label(rows, surface, names=item.names), names=item.names)
    return _parts.finish_figure(figure, item, pd.concat([lines, plane]), acknowledged)


def _curves(axes: Axes, rows: pd.DataFrame, final: pd.DataFrame, x: str, hue: str, item: Item) -> None:
    """Draw the curves, with the printed ends where the longest of a colour ends, and the legend."""
    if rows.empty:
        _parts.mark_blank(axes, rows)
        return
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    _facets.draw_on(
        _facets.line_plot(_facets.rows_to_plot(rows.assign(paper_value=np.nan), x, hue), x, hue, colour), axes
    )
    for level, last in rows.groupby(hue)[x].max().items():
        for value in _parts.rows_at_level(final, hue, level)["paper_value"].dropna():
            axes.plot([last], [value], "D", clip_on=False, **_parts.printed_marker(colour[level]))
    handles = [*_facets.legend_entries(colour, level_texts(colour, item.names)), *_parts.printed_entries(final)]
    axes.margins(y=0.2)  # room for the legend, which does not see the bands
    axes.legend(handles=handles, title=display_name(hue, item.names), loc="best", alignment="left")


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
    _parts.draw_colour_bar(figure, mesh, axes, label, shrink=0.9, pad=0.02)
