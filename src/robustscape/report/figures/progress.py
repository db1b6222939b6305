"""Progress of training against several measures of effort: epochs, wall time, passes."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import levels, name


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
    """Metrics of every epoch: a column of panels a measure of effort, a row of panels a metric; a band is one deviation.

    Args:
        rows: the item's CSV.
        item: its stanza.
        epoch: factor that orders the points.
        against: what is on the horizontal axes: ``epoch``, or metrics that have a value in every epoch, such as the seconds
            spent so far.
        hue: factor of the lines.
        metrics: what to draw; empty: the item's metrics that are not in ``against``.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, epoch, hue)
    rows = rows[rows[epoch].notna()]
    _parts.refuse_doubled(rows, item, epoch, hue)
    drawn = [m for m in _parts.metrics(rows, item, metrics) if m not in against]
    lines = _parts.distinct(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    figure, grid = style.panels(len(drawn), len(against), sharey="row")
    for row, metric in enumerate(drawn):
        for column, effort in enumerate(against):
            axes = grid[row, column]
            for number, line in enumerate(lines):
                own = _parts.at(rows, hue, line)
                points = own[(own["metric"] == metric) & (own["n"] > 0)].set_index(epoch).sort_index()
                if effort == epoch:
                    across = points.index.to_series()
                else:
                    across = own[own["metric"] == effort].set_index(epoch)["value"].reindex(points.index)
                few = (
                    {"marker": style.MARKERS[number % len(style.MARKERS)], "markersize": 4} if len(points) <= 20 else {}
                )
                axes.plot(across, points["value"], color=colour[line], **few)
                if points["std"].notna().any():
                    low, high = points["value"] - points["std"], points["value"] + points["std"]
                    axes.fill_between(across, low, high, color=colour[line], alpha=0.1, linewidth=0)
            if effort == epoch:
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            if row == len(drawn) - 1:
                axes.set_xlabel(
                    name(epoch, item.names) if effort == epoch else _parts.axis_name(rows, effort, names=item.names)
                )
            if column == 0:
                axes.set_ylabel(_parts.axis_name(rows, metric, names=item.names))
    texts = levels(lines, item.names)
    handles = [
        Line2D(
            [], [], color=colour[line], marker=style.MARKERS[n % len(style.MARKERS)], markersize=5, label=texts[line]
        )
        for n, line in enumerate(lines)
    ]
    style.legend(figure, handles, name(hue, item.names))
    shown = rows[rows["metric"].isin(drawn)]
    style.dress(figure, item.title, notes.footer(shown, acknowledged, names=item.names))
    return figure
