"""Curves against a numeric factor, one per level of another: landscapes g(alpha), training histories, accuracy over eps."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


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
    _parts.require_columns(rows, item, x, hue, panel)
    rows = rows[rows[x].notna()]
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_duplicates(rows, item, x, hue, panel)
    columns, lines = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))

    figure, grid = _parts.panel_grid(len(drawn), len(columns), "row" if share_y else False)
    for row, metric in enumerate(drawn):
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.rows_at_level(rows[rows["metric"] == metric], panel, level)
            for line in lines:
                own = _parts.rows_at_level(part, hue, line).sort_values(x)
                own = own[own["n"] > 0]
                axes.plot(own[x], own["value"], color=colour[line], marker="o" if len(own) < 2 else None)
                _parts.draw_deviation_band(axes, own[x], own, colour[line])
                printed = _parts.rows_at_level(part, hue, line).dropna(subset=["paper_value"])
                axes.plot(printed[x], printed["paper_value"], "D", **_parts.printed_marker(colour[line]))
            if _parts.is_blank(part):
                _parts.mark_blank(axes, part)
            if log_y:
                _parts.set_log_y(axes)
            if axes.get_subplotspec().is_first_row():
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            if axes.get_subplotspec().is_last_row():
                _parts.set_level_ticks(axes, list(rows[x]), x, names=item.names)
            if column == 0:
                axes.set_ylabel(_parts.axis_label(rows, metric, names=item.names))
    handles = []
    if hue is not None:
        texts = level_texts(lines, item.names)
        handles = [Line2D([], [], color=colour[line], linewidth=2.6, label=texts[line]) for line in lines]
    if rows["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())
    if handles:
        style.legend(figure, handles, display_name(hue, item.names) if hue else None)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure
