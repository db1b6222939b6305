"""Curves on the left; on the right a map over a plane or a histogram over examples: kim2023 figures 2.16, 5.3 and 5.4."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name


@style.styled
def curves_beside(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str,
    curves: list[str],
    ends: str | None = None,
    surface: str | None = None,
    examples: str | None = None,
    clip: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
) -> Figure:
    """Return one panel per curve (mean and one standard deviation against ``x``) and beside them a map or a histogram.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor of the curves.
        hue: factor of the colours.
        curves: metrics of the curves, one below the other.
        ends: metric that does not depend on ``x``; its printed numbers are marked at the end of the curves.
        surface: metric of the map over the columns ``a`` and ``b``.
        examples: metric of the histogram of the rows that have an ``index``, with their means, where there is no map.
        clip: fraction of its values at each end that is counted in the outermost bins.
    """
    if not surface and not examples:
        raise ConfigError(f"figure '{item.title}': neither 'surface' nor 'examples' says what is beside the curves.")
    _parts.require_columns(rows, item, x, hue, *(("a", "b") if surface else ("index",)))
    final = rows[(rows["metric"] == ends) & rows[x].isna()]
    shown = rows[rows["metric"].isin(_parts.metrics_to_draw(rows, item, curves)) & rows[x].notna()]
    _parts.refuse_duplicates(shown, item, x, hue)
    lines = _facets.lines_of(shown, item, hue)
    figure = style.room_for_panels(len(curves), 2, width=4.9, height=4.0 if surface else 2.6)
    places = figure.add_gridspec(len(curves), 2)
    for number, metric in enumerate(curves):
        left = figure.add_subplot(places[number, 0])
        own = shown[shown["metric"] == metric]
        _facets.draw_on(_facets.line_plot(_facets.rows_to_plot(own, x, lines), x, lines), left)
        _parts.mark_if_blank(left, own)
        _parts.set_level_ticks(left, list(shown[x]), x, names=item.names)
        left.set_ylabel(_parts.axis_label(rows, metric, names=item.names))
        left.set_xlabel(left.get_xlabel() if metric == curves[-1] else "")
        for level, last in own.groupby(hue)[x].max().items():
            for value in _parts.rows_at_level(final, hue, level)["paper_value"].dropna():
                left.plot([last], [value], "D", clip_on=False, **_parts.printed_marker(lines.colour[level]))
    axes = figure.add_subplot(places[:, 1])
    if surface:
        plane = rows[(rows["metric"] == surface) & rows["a"].notna() & rows["b"].notna()]
        _parts.refuse_duplicates(plane, item, "a", "b")
        _draw_map(figure, axes, plane, _parts.axis_label(rows, surface, names=item.names))
    else:
        plane = rows[(rows["metric"] == examples) & rows["index"].notna()]
        _parts.metrics_to_draw(plane, item, [str(examples)])
        _parts.draw_histograms(axes, plane, hue, lines.colour, _parts.bin_edges(plane["value"], clip))
        axes.set(xlabel=_parts.axis_label(rows, str(examples), names=item.names), ylabel="examples (%)")
    handles = lines.legend_entries(item) + _parts.printed_entries(pd.concat([shown, final]))
    if surface:  # on the right is the scale of its colours
        left.margins(y=0.2)  # room for the legend, which does not see the bands
        left.legend(handles=handles, title=display_name(hue, item.names), loc="best", alignment="left")
        return _parts.finish_figure(figure, item, pd.concat([shown, plane]))
    return _parts.finish_figure(figure, item, shown, handles, legend=hue, said=" · dashed: mean")


def _draw_map(figure: Figure, axes: Axes, rows: pd.DataFrame, label: str) -> None:
    """Draw the map with labelled contours and its colour bar."""
    axes.grid(visible=False)
    axes.set(xlabel="a", ylabel="b")
    _parts.mark_if_blank(axes, rows)
    if rows.empty:
        return
    table = rows.pivot(index="b", columns="a", values="value").astype(float)
    places, values = (table.columns, table.index), table.to_numpy()
    mesh = axes.pcolormesh(*places, np.ma.masked_invalid(values), cmap=style.SEQUENTIAL, shading="gouraud")
    if values.max() > values.min():
        contours = axes.contour(*places, values, levels=8, colors="white", linewidths=0.8, alpha=0.9)
        for text in axes.clabel(contours, fontsize=8):
            text.set_clip_on(False)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    _parts.draw_colour_bar(figure, mesh, axes, label, shrink=0.9, pad=0.02)
