"""Points and curves in a plane, drawn from the coordinates in the rows."""

from __future__ import annotations

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name


@style.styled
def paths(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str = "x_1",
    y: str = "x_2",
    along: str = "place",
    hue: str = "shape",
    panel: str | None = "panel",
    wrap: int = 3,
    grey: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return one metric against another, joined in the order of a third column, with the same scale on both axes.

    A path of a single point is drawn as a mark.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: metric of the horizontal axis.
        y: metric of the vertical axis.
        along: column that numbers the points of a path.
        hue: factor of the paths.
        panel: factor of the panels.
        wrap: panels in a row.
        grey: paths drawn thin and grey, such as frames.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, along, hue, panel)
    rows = rows[rows["metric"].isin([x, y]) & rows[along].notna()]
    _parts.refuse_duplicates(rows, item, along, hue, panel)
    panels, shapes = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, hue)
    coloured = style.palette([shape for shape in shapes if shape not in grey], item)
    colour = {shape: coloured.get(shape, style.GREY) for shape in shapes}
    longest = rows.groupby([hue, *([panel] if panel else [])], sort=False)[along].nunique().groupby(hue).max()
    single = {shape: longest[shape] == 1 for shape in shapes}
    marker = {shape: style.MARKERS[i % len(style.MARKERS)] if single[shape] else "" for i, shape in enumerate(shapes)}
    width = {shape: 0.0 if single[shape] else 1.2 if shape in grey else 2.2 for shape in shapes}
    keys = [hue, *([panel] if panel else []), along]
    points = rows.pivot(index=keys, columns="metric", values="value").sort_index(level=along).reset_index()
    plot = _facets.plot_of(points, x=x, y=y, color=hue)
    path = so.Path(pointsize=8)
    plot = plot.add(path, marker=hue, linewidth=hue, legend=False)
    plot = plot.scale(
        color=_facets.scale_of(colour), marker=_facets.scale_of(marker), linewidth=_facets.scale_of(width)
    )
    figure, grid = _facets.draw_facets(
        plot, (panel, panels), wrap=wrap, share_x=False, share_y=False, width=3.9, height=3.5
    )
    for level, axes in zip(panels, grid.flat, strict=True):
        axes.set_aspect("equal", adjustable="datalim")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_title(str(level) if panel else "")
        place = axes.get_subplotspec()
        axes.set_xlabel(display_name(x, item.names) if place.is_last_row() else "")
        axes.set_ylabel(display_name(y, item.names) if place.is_first_col() else "")
    texts = {shape: display_name(str(shape), item.names) for shape in shapes}
    handles = _facets.legend_entries(colour, texts, marker=marker, markersize=8)
    for entry, shape in zip(handles, shapes, strict=True):
        entry.set_linewidth(width[shape])
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles)
