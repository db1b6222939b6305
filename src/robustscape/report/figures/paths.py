"""One metric against another, joined in the order of a factor: curves in a plane, the trade-off between two metrics."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def paths(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    y: str,
    along: str,
    hue: str,
    panel: str | None = None,
    grey: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    equal: bool = False,
    labelled: bool = False,
) -> Figure:
    """Return one metric against another, joined in the order of ``along``; a path of a single point is drawn as a mark.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: metric of the horizontal axis.
        y: metric of the vertical axis.
        along: factor that orders the points of a path.
        hue: factor of the paths.
        panel: factor of the panels, three in a row.
        grey: paths drawn thin and grey, such as frames.
        equal: the same scale on both axes.
        labelled: mark every point, with its level of ``along`` beside it.
    """
    _parts.require_columns(rows, item, along, hue, panel)
    _parts.metrics_to_draw(rows, item, [x, y])
    rows = rows[rows["metric"].isin([x, y]) & rows[along].notna() & (rows["n"] > 0)]
    _parts.refuse_duplicates(rows, item, along, hue, panel)
    panels, kinds = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, hue)
    coloured = style.palette([kind for kind in kinds if kind not in grey], item)
    colour = {kind: coloured.get(kind, style.GREY) for kind in kinds}
    keys = [hue, *([panel] if panel else []), along]
    points = rows.pivot(index=keys, columns="metric", values="value").sort_index(level=along).reset_index()
    longest = points.groupby(keys[:-1]).size().groupby(hue).max()
    marker = {kind: style.MARKERS[i % 8] if labelled or longest[kind] == 1 else "" for i, kind in enumerate(kinds)}
    width = {kind: 0.0 if longest[kind] == 1 else 1.2 if kind in grey else 2.2 for kind in kinds}
    plot = _facets.plot_of(points, x=x, y=y, color=hue).add(
        so.Path(pointsize=7), marker=hue, linewidth=hue, legend=False
    )
    looks = {"color": colour, "marker": marker, "linewidth": width}
    size: dict[str, Any] = {"width": 3.9, "height": 3.5} if panel else {"width": 5.6, "height": 4.2}
    figure, grid = _facets.draw_facets(
        plot.scale(**{name: _facets.scale_of(of_kind) for name, of_kind in looks.items()}),
        (panel, panels), wrap=3, share_x=False, share_y=False, **size,
    )  # fmt: skip
    texts = level_texts(_parts.distinct_levels(rows, along), item.names)
    for level, axes in zip(panels, grid.flat, strict=True):
        if equal:
            axes.set_aspect("equal", adjustable="datalim")
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        for point in _parts.rows_at_level(points, panel, level).to_dict("records") if labelled else []:
            look = {"textcoords": "offset points", "fontsize": 9, "color": colour[point[hue]]}
            axes.annotate(texts[point[along]], (point[x], point[y]), xytext=(5, 5), **look)
        if labelled:
            axes.margins(0.08)
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        place = axes.get_subplotspec()
        axes.set_xlabel(_parts.axis_label(rows, x, names=item.names) if place.is_last_row() else "")
        axes.set_ylabel(_parts.axis_label(rows, y, names=item.names) if place.is_first_col() else "")
    handles = _facets.legend_entries(colour, level_texts(kinds, item.names), marker=marker, markersize=7)
    for entry, kind in zip(handles, kinds, strict=True):
        entry.set_linewidth(width[kind])
    said = f" · numbers at the points: {display_name(along, item.names)}" if labelled else ""
    return _parts.finish_figure(figure, item, rows, handles, legend=hue, said=said)
