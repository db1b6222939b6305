"""Curves against a numeric factor, one per level of another: landscapes g(alpha), training histories, accuracy over eps."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.numbers import pretty_number
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.level_matching import same_level
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
    marks: dict[str, float] = {},  # noqa: B006
    standard_error: bool = False,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return the mean against ``x`` with a band of one standard deviation, or of one standard error of the mean.

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
        marks: level of ``hue`` -> value of ``x`` at which its line has a star, as in kim2023 figure 5.5.
        standard_error: the band is the standard deviation over the root of the number of repetitions, as in ma2025 figure 4.6.
        acknowledged: known flags, which the footer does not list.
    """
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, metrics=metrics)
    columns = _parts.distinct_levels(rows, panel)
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    plotted = _facets.rows_to_plot(
        rows.assign(std=rows["std"] / rows["n"] ** 0.5) if standard_error else rows, x, hue, panel
    )
    lines = _facets.line_plot(plotted, x, hue, colour)
    if marks:
        at_its_own = [same_level(marks.get(line), at) for line, at in zip(plotted[hue], plotted[x], strict=True)]
        star = so.Dot(marker="*", pointsize=15, edgewidth=1, artist_kws={"clip_on": False, "zorder": 5})
        lines = lines.add(star, y=plotted["value"].where(at_its_own), legend=False)
    figure, grid = _facets.draw_facets(lines, (panel, columns), ("metric", drawn), share_y="row" if share_y else False)
    _facets.name_panels(grid, rows, item, x, (panel, columns), [[metric] for metric in drawn], log_y=log_y)
    handles = _facets.legend_entries(colour, level_texts(colour, item.names)) if hue else []
    if marks:
        points = {pretty_number(point) for point in marks.values()}
        label = "at its own point" if len(points) > 1 else f"{display_name(x, item.names)} = {points.pop()}"
        look: dict[str, Any] = {"linestyle": "none", "marker": "*", "markersize": 13, "label": label}
        handles.append(Line2D([], [], color=style.GREY, **look))
    handles += _parts.printed_entries(rows)
    spread = "standard error" if standard_error else "standard deviation"
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue, spread=spread)
