"""Curves against a numeric factor, one per level of another: landscapes g(alpha), training histories, accuracy over eps."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import level_texts


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
    """Return the mean against ``x`` with a band of one standard deviation.

    There is one column of panels per level of ``panel`` and one row of panels per metric.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        hue: factor of the lines; numbers are coloured in their order.
        panel: factor of the columns of panels.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics.
        log_y: use logarithmic vertical axes.
        share_y: use one vertical scale for the panels of a row, so that they can be compared.
        acknowledged: known flags, which the footer does not list.
    """
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, metrics=metrics)
    columns = _parts.distinct_levels(rows, panel)
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    plotted = _facets.line_plot(_facets.rows_to_plot(rows, x, hue, panel), x, hue, colour)
    figure, grid = _facets.draw_facets(
        plotted, (panel, columns), ("metric", drawn), share_y="row" if share_y else False
    )
    _facets.name_panels(grid, rows, item, x, (panel, columns), [[metric] for metric in drawn], log_y=log_y)
    handles = _facets.legend_entries(colour, level_texts(colour, item.names)) if hue else []
    handles += _parts.printed_entries(rows)
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue)
