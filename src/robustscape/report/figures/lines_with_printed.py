"""Measured points joined by lines, with the printed points beside them."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def lines_with_printed(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str = "eps",
    hue: str = "metric",
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    log_y: bool = False,
    mark: str | None = None,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return our points as filled marks with error bars, and the printed ones as open diamonds on dotted lines.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        hue: factor of the lines, or ``metric`` to put metrics of one unit into one panel.
        panel: factor of the columns of panels.
        metrics: metrics to draw; empty: the item's metrics. There is one row of panels per unit.
        log_y: use logarithmic vertical axes.
        mark: metric whose single value is a place on the horizontal axis: a dashed line in every panel, as in kim2023 figure
            2.2.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, panel)
    marked = rows.loc[rows["metric"] == mark, "value"].dropna()
    if len(marked) > 1:
        raise ConfigError(f"figure '{item.title}': mark: '{mark}' has {len(marked)} values, where one place is marked.")
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, metrics=metrics)
    columns = _parts.distinct_levels(rows, panel)
    colour = style.palette(drawn if hue == "metric" else _parts.distinct_levels(rows, hue), item)
    few = rows[x].nunique() <= 20
    marker = dict(zip(colour, itertools.cycle(style.MARKERS if few else ("",))))
    units = rows.drop_duplicates("metric").set_index("metric")["unit"].fillna("")
    apart = units if hue == "metric" else pd.Series(units.index, units.index)
    bands = [[m for m in drawn if apart[m] == band] for band in dict.fromkeys(apart[drawn])]
    plotted = _facets.rows_to_plot(rows.assign(band=rows["metric"].map(apart)), x, hue, panel)
    lines = _facets.line_plot(plotted, x, hue, colour, spread=so.Range(), marker=marker)
    lines = lines.add(so.Path(linestyle=":", linewidth=1.2, alpha=0.8), y="paper_value", legend=False)
    figure, grid = _facets.draw_facets(lines, (panel, columns), ("band", list(dict.fromkeys(apart[drawn]))))
    _facets.name_panels(grid, rows, item, x, (panel, columns), bands, log_y=log_y)
    dashed: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2)), "linewidth": 1.2}
    for axes, place in itertools.product(grid.flat, marked):
        axes.axvline(place, **dashed)
    handles = [
        *_facets.legend_entries(colour, level_texts(colour, item.names), marker=marker),
        *_parts.printed_entries(rows),
    ]
    handles += [Line2D([], [], **dashed, label=display_name(str(mark), item.names)) for _ in marked]
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=handles, legend=hue)
