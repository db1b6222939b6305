"""Curves with a star on some of them, as in kim2023 figure 5.5."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def marked_curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str,
    marks: dict[str, float],
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return the mean against ``x`` with a band of one standard deviation and a star on some of the lines.

    There is one row of panels per metric.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        hue: factor of the lines.
        marks: level of ``hue`` -> value of ``x`` at which its line has a star.
        panel: factor of the columns of panels.
        metrics: metrics to draw; empty: the item's metrics.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, panel)
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn) & rows[x].notna()]
    _parts.refuse_duplicates(rows, item, x, hue, panel)
    columns, lines = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    figure, grid = style.panel_figure(len(drawn), len(columns), sharex=True)
    for row, metric in enumerate(drawn):
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.rows_at_level(rows[rows["metric"] == metric], panel, level)
            for line in lines:
                own = _parts.rows_at_level(part, hue, line).sort_values(x)
                axes.plot(own[x], own["value"], color=colour[line])
                _parts.draw_deviation_band(axes, own[x], own, colour[line], 0.14)
                if line in marks:
                    starred = _parts.rows_at_level(own, x, float(marks[line]))
                    star = {"markersize": 15, "clip_on": False, "zorder": 5}
                    axes.plot(starred[x], starred["value"], "*", color=colour[line], **star)
            if row == 0:
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            if row == len(drawn) - 1:
                axes.set_xlabel(display_name(x, item.names))
            if column == 0:
                axes.set_ylabel(_parts.axis_label(rows, metric, names=item.names))
    texts = level_texts(lines, item.names)
    handles = [Line2D([], [], color=colour[line], linewidth=2.6, label=texts[line]) for line in lines]
    handles.append(
        Line2D([], [], color=style.GREY, linestyle="none", marker="*", markersize=13, label="at its own point")
    )
    style.legend(figure, handles, display_name(hue, item.names))
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure
