"""Grouped bars with the printed numbers marked on them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def bars(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str | None = None,
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return groups of bars from zero, with whiskers of one standard deviation and the printed number as an open diamond.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the groups.
        hue: factor of the bars in a group, or ``metric`` for metrics of one unit.
        panel: factor of the columns of panels.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics.
        acknowledged: known flags, which the footer does not list.
    """
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, metrics=metrics)
    groups, columns = _parts.distinct_levels(rows, x), _parts.distinct_levels(rows, panel)
    colour = style.palette(drawn if hue == "metric" else _parts.distinct_levels(rows, hue), item)
    bands = [drawn] if hue == "metric" else [[metric] for metric in drawn]
    band = {metric: place for place, together in enumerate(bands) for metric in together}
    rows = rows.assign(band=rows["metric"].map(band), low=rows["value"] - rows["std"], high=rows["value"] + rows["std"])
    beside = so.Dodge(gap=0.08)
    printed = _facets.printed_dots(None, pointsize=5.5, edgecolor=style.INK)
    plot = _facets.plot_of(rows, x=x, y="value", color=hue).add(so.Bar(alpha=1, edgewidth=0), beside, legend=False)
    if rows["low"].notna().any():
        whisker = so.Range(color=style.INK, linewidth=1.0)
        plot = plot.add(whisker, so.Dodge(), color=None, group=hue, ymin="low", ymax="high", legend=False)
    plot = plot.add(printed, so.Dodge(), y="paper_value", color=None, group=hue, legend=False)
    inches = max(4.3, 0.32 * len(groups) * len(colour) + 1.0)
    figure, grid = _facets.draw_facets(
        plot.scale(x=so.Nominal(order=groups), color=_facets.scale_of(colour), group=_facets.scale_of(colour)),
        (panel, columns), ("band", list(range(len(bands)))), width=inches,
    )  # fmt: skip
    words = list(level_texts(groups, item.names).values())
    turn = 0 if max(map(len, words)) * len(words) < 9 * inches else 35
    for (row, column), axes in np.ndenumerate(grid):
        axes.grid(visible=False, axis="x")
        axes.axhline(0, color=style.GREY, linewidth=0.8)
        if row == 0:
            axes.set_title(_parts.panel_title(rows, panel, columns[column], names=item.names))
        if row == len(bands) - 1:
            axes.set_xticks(range(len(groups)), words, rotation=turn, ha="right" if turn else "center")
            axes.set_xlabel(display_name(x, item.names))
        if column == 0:
            axes.set_ylabel(_parts.shared_axis_label(rows, bands[row], names=item.names))
    texts = level_texts(colour, item.names)
    handles = [Patch(color=shade, label=texts[level]) for level, shade in colour.items() if hue]
    handles += _parts.printed_entries(rows)
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue)
