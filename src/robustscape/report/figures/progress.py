"""Progress of training against several measures of effort: epochs, wall time, forward and backward passes."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def progress(
    rows: pd.DataFrame,
    item: Item,
    *,
    epoch: str = "epoch",
    against: list[str] = ["epoch"],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    hue: str,
    metrics: list[str] = [],  # noqa: B006
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return metrics after each epoch with a band of one standard deviation.

    There is one column of panels per measure of effort and one row of panels per metric.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        epoch: factor that orders the points.
        against: quantities on the horizontal axes: ``epoch``, or metrics with a value in every epoch, such as the seconds
            since the start.
        hue: factor of the lines.
        metrics: metrics to draw; empty: the item's metrics that are not in ``against``.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, epoch, hue)
    rows = rows[rows[epoch].notna()]
    _parts.refuse_duplicates(rows, item, epoch, hue)
    drawn = [m for m in _parts.metrics_to_draw(rows, item, metrics) if m not in against]
    lines = _parts.distinct_levels(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    figure, grid = style.panel_figure(len(drawn), len(against), sharey="row")
    for row, metric in enumerate(drawn):
        for column, effort in enumerate(against):
            axes = grid[row, column]
            for number, line in enumerate(lines):
                own = _parts.rows_at_level(rows, hue, line)
                points = own[(own["metric"] == metric) & (own["n"] > 0)].set_index(epoch).sort_index()
                if effort == epoch:
                    across = points.index.to_series()
                else:
                    across = own[own["metric"] == effort].set_index(epoch)["value"].reindex(points.index)
                few = (
                    {"marker": style.MARKERS[number % len(style.MARKERS)], "markersize": 4} if len(points) <= 20 else {}
                )
                axes.plot(across, points["value"], color=colour[line], **few)
                _parts.draw_deviation_band(axes, across, points, colour[line], 0.1)
            if effort == epoch:
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            if row == len(drawn) - 1:
                axes.set_xlabel(
                    display_name(epoch, item.names)
                    if effort == epoch
                    else _parts.axis_label(rows, effort, names=item.names)
                )
            if column == 0:
                axes.set_ylabel(_parts.axis_label(rows, metric, names=item.names))
    texts = level_texts(lines, item.names)
    handles = [
        Line2D(
            [], [], color=colour[line], marker=style.MARKERS[n % len(style.MARKERS)], markersize=5, label=texts[line]
        )
        for n, line in enumerate(lines)
    ]
    style.legend(figure, handles, display_name(hue, item.names))
    shown = rows[rows["metric"].isin(drawn)]
    style.dress_figure(figure, item.title, notes.figure_footer(shown, acknowledged, names=item.names))
    return figure
