"""Points and curves in a plane, drawn from the coordinates in the rows."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
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
    coloured = [shape for shape in shapes if shape not in grey]
    colour = {
        **dict.fromkeys(grey, style.GREY),
        **dict(zip(coloured, style.colours(coloured, item.colours), strict=True)),
    }
    marks = {shape: rows[rows[hue] == shape].groupby(panel or "metric")[along].nunique().max() == 1 for shape in shapes}
    across = min(wrap, len(panels))
    down = -(-len(panels) // across)
    figure, grid = style.panel_figure(down, across, width=3.9, height=3.5)
    for place, level in enumerate(panels):
        axes = grid.flat[place]
        for number, shape in enumerate(shapes):
            own = _parts.rows_at_level(_parts.rows_at_level(rows, panel, level), hue, shape).pivot(
                index=along, columns="metric", values="value"
            )
            own = own.sort_index().reindex(columns=[x, y])
            thin = shape in grey
            axes.plot(
                own[x],
                own[y],
                color=colour[shape],
                linestyle="none" if marks[shape] else "-",
                linewidth=1.2 if thin else 2.2,
                marker=style.MARKERS[number % len(style.MARKERS)] if marks[shape] else None,
                markersize=8,
                zorder=4 if marks[shape] else 2,
            )
        axes.set_aspect("equal", adjustable="datalim")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_title(str(level) if panel else "")
        if place // across == down - 1:
            axes.set_xlabel(display_name(x, item.names))
        if place % across == 0:
            axes.set_ylabel(display_name(y, item.names))
    for axes in grid.flat[len(panels) :]:
        figure.delaxes(axes)
    handles = [
        Line2D(
            [],
            [],
            color=colour[shape],
            linestyle="none" if marks[shape] else "-",
            linewidth=1.2 if shape in grey else 2.2,
            marker=style.MARKERS[number % len(style.MARKERS)] if marks[shape] else None,
            markersize=8,
            label=display_name(str(shape), item.names),
        )
        for number, shape in enumerate(shapes)
    ]
    style.legend(figure, handles)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure
