"""One metric against another along a factor: the trade-off between the two."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def metric_curve(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    y: str,
    along: str,
    hue: str,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return one labelled point per level of ``along``, joined in the order of the levels.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: metric on the horizontal axis.
        y: metric on the vertical axis.
        along: factor with one point per level.
        hue: factor of the lines.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, along, hue)
    _parts.metrics_to_draw(rows, item, [x, y])
    rows = rows[rows["metric"].isin([x, y]) & rows[along].notna() & (rows["n"] > 0)]
    _parts.refuse_duplicates(rows, item, along, hue)
    lines = _parts.distinct_levels(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    texts = level_texts(_parts.distinct_levels(rows, along), item.names)
    figure, grid = style.panel_figure(1, 1, width=5.6, height=4.2)
    axes = grid[0, 0]
    for number, line in enumerate(lines):
        own = _parts.rows_at_level(rows, hue, line).pivot(index=along, columns="metric", values="value").sort_index()
        axes.plot(own[x], own[y], color=colour[line], marker=style.MARKERS[number], markersize=7)
        for level, point in own.iterrows():
            place = (point[x], point[y])
            axes.annotate(
                texts.get(level, str(level)),
                place,
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=9,
                color=colour[line],
            )
    axes.set_xlabel(_parts.axis_label(rows, x, names=item.names))
    axes.set_ylabel(_parts.axis_label(rows, y, names=item.names))
    axes.margins(0.08)
    handles = [
        Line2D([], [], color=colour[line], marker=style.MARKERS[i], label=text)
        for i, (line, text) in enumerate(level_texts(lines, item.names).items())
    ]
    style.legend(figure, handles, display_name(hue, item.names))
    style.dress_figure(
        figure,
        item.title,
        f"{notes.figure_footer(rows, acknowledged, names=item.names)} · numbers at the points: {display_name(along, item.names)}",
    )
    return figure
