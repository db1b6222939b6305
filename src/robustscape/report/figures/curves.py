"""Curves against a numeric factor, one a level: landscapes g(alpha), training histories, eps curves."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import levels, name


@style.styled
def curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str | None = None,
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    log_y: bool = False,
    share_y: bool = True,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Mean against ``x`` with a band of one standard deviation: a column of panels a level, a row of panels a metric.

    Args:
        rows: the item's CSV.
        item: its stanza.
        x: numeric factor on the horizontal axis.
        hue: factor of the lines; numbers are coloured in their order.
        panel: factor of the columns of panels.
        metrics: what to draw, one row of panels each; empty: the item's metrics.
        log_y: logarithmic vertical axes.
        share_y: one vertical scale for the panels of a row, so that they can be compared.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, x, hue, panel)
    rows = rows[rows[x].notna()]
    drawn = _parts.metrics(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_doubled(rows, item, x, hue, panel)
    columns, lines = _parts.distinct(rows, panel), _parts.distinct(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))

    figure, grid = _parts.panels(len(drawn), len(columns), "row" if share_y else False)
    for row, metric in enumerate(drawn):
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.at(rows[rows["metric"] == metric], panel, level)
            for line in lines:
                own = _parts.at(part, hue, line).sort_values(x)
                own = own[own["n"] > 0]
                axes.plot(own[x], own["value"], color=colour[line], marker="o" if len(own) < 2 else None)
                if own["std"].notna().any():
                    low, high = own["value"] - own["std"], own["value"] + own["std"]
                    axes.fill_between(own[x], low, high, color=colour[line], alpha=0.16, linewidth=0)
                printed = _parts.at(part, hue, line).dropna(subset=["paper_value"])
                axes.plot(printed[x], printed["paper_value"], "D", **_parts.hollow(colour[line]))
            if _parts.blank(part):
                _parts.nothing(axes)
            if log_y:
                _parts.log_y(axes)
            if axes.get_subplotspec().is_first_row():
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            if axes.get_subplotspec().is_last_row():
                _parts.ticks(axes, list(rows[x]), x, names=item.names)
            if column == 0:
                axes.set_ylabel(_parts.axis_name(rows, metric, names=item.names))
    handles = []
    if hue is not None:
        texts = levels(lines, item.names)
        handles = [Line2D([], [], color=colour[line], linewidth=2.6, label=texts[line]) for line in lines]
    if rows["paper_value"].notna().any():
        handles.append(_parts.paper_mark())
    if handles:
        style.legend(figure, handles, name(hue, item.names) if hue else None)
    style.dress(figure, item.title, notes.footer(rows, acknowledged, names=item.names))
    return figure
