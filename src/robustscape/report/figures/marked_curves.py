"""Curves with a star on some of them, as in kim2023 figure 5.5."""

from __future__ import annotations

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.level_matching import same_level
from robustscape.report.words import level_texts


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
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, metrics=metrics)
    columns = _parts.distinct_levels(rows, panel)
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    plotted = _facets.rows_to_plot(rows, x, hue, panel)
    at_its_own = [same_level(marks.get(line), place) for line, place in zip(plotted[hue], plotted[x], strict=True)]
    plotted["starred"] = plotted["value"].where(at_its_own)
    star = so.Dot(marker="*", pointsize=15, edgewidth=1, artist_kws={"clip_on": False, "zorder": 5})
    lines = _facets.line_plot(plotted, x, hue, colour, spread=so.Band(alpha=0.14)).add(star, y="starred", legend=False)
    figure, grid = _facets.draw_facets(lines, (panel, columns), ("metric", drawn), share_y=False)
    _facets.name_panels(grid, rows, item, x, (panel, columns), [[metric] for metric in drawn])
    handles = _facets.legend_entries(colour, level_texts(colour, item.names))
    star_look = {"linestyle": "none", "marker": "*", "markersize": 13, "label": "at its own point"}
    handles.append(Line2D([], [], color=style.GREY, **star_look))
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue)
