"""Progress of training against several measures of effort: epochs, wall time, forward and backward passes."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
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
    rows, _ = _parts.rows_to_draw(rows, item, epoch, hue, metrics=list(dict.fromkeys(rows["metric"])))
    drawn = [m for m in _parts.metrics_to_draw(rows, item, metrics) if m not in against]
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    shown = rows[rows["metric"].isin(drawn)]
    spent = rows[rows["metric"].isin(against)].rename(columns={"metric": "effort", "value": "spent"})
    if epoch in against:
        epochs = shown[[epoch, hue]].drop_duplicates()
        spent = pd.concat([epochs.assign(effort=epoch, spent=epochs[epoch]), spent])
    plotted = shown.merge(spent[["effort", epoch, hue, "spent"]], on=[epoch, hue])
    plotted = _facets.rows_to_plot(plotted, epoch, hue, "effort")
    marks = dict(zip(colour, itertools.cycle(style.MARKERS)))
    few = plotted.groupby(["metric", hue, "effort"])["metric"].transform("size") <= 20
    lines = _facets.line_plot(plotted, "spent", hue, colour, spread=so.Band(alpha=0.1))
    points = plotted["value"].where(few)
    lines = lines.add(so.Dot(pointsize=4, edgewidth=1), y=points, marker=hue, legend=False)
    lines = lines.scale(marker=_facets.scale_of(marks))
    figure, grid = _facets.draw_facets(lines, ("effort", against), ("metric", drawn), share_x="col")
    for (row, column), axes in np.ndenumerate(grid):
        by_epoch = against[column] == epoch
        if by_epoch:
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        if axes.get_subplotspec().is_last_row():
            quantity = _parts.axis_label(rows, against[column], names=item.names)
            axes.set_xlabel(display_name(epoch, item.names) if by_epoch else quantity)
        if column == 0:
            axes.set_ylabel(_parts.axis_label(rows, drawn[row], names=item.names))
    handles = _facets.legend_entries(colour, level_texts(colour, item.names), marker=marks, markersize=5)
    return _parts.finish_figure(figure, item, shown, acknowledged, handles=handles, legend=hue)
