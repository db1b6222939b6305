"""One metric against another along a factor: the trade-off between the two."""

from __future__ import annotations

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
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
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    marker = dict(zip(colour, style.MARKERS, strict=False))
    points = rows.pivot(index=[along, hue], columns="metric", values="value").reset_index()
    lines = _facets.plot_of(points, x=x, y=y, color=hue, marker=hue).add(so.Path(pointsize=7), legend=False)
    lines = lines.scale(color=_facets.scale_of(colour), marker=_facets.scale_of(marker))
    figure, grid = _facets.draw_facets(lines, width=5.6, height=4.2)
    axes = grid[0, 0]
    texts = level_texts(_parts.distinct_levels(rows, along), item.names)
    for point in points.to_dict("records"):
        look = {"textcoords": "offset points", "fontsize": 9, "color": colour[point[hue]]}
        axes.annotate(texts[point[along]], (point[x], point[y]), xytext=(5, 5), **look)
    axes.set_xlabel(_parts.axis_label(rows, x, names=item.names))
    axes.set_ylabel(_parts.axis_label(rows, y, names=item.names))
    axes.margins(0.08)
    handles = _facets.legend_entries(colour, level_texts(colour, item.names), marker=marker)
    said = f" · numbers at the points: {display_name(along, item.names)}"
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue, said=said)
