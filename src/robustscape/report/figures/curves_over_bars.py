"""Lines of one metric over grey bars of another with its own scale, at evenly spaced levels: kim2023 figures 3.5 and 3.11."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def curves_over_bars(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    line: str,
    bar: str,
    hue: str,
    panel: str | None = None,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return the mean of the metric ``line`` (left scale) and, behind it, of the metric ``bar`` (right scale) against ``x``.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the places on the horizontal axis, which are evenly spaced.
        line: metric of the lines.
        bar: metric of the bars; its rows must not differ in ``hue`` within a place.
        hue: factor of the lines.
        panel: factor of the columns of panels.
        acknowledged: known flags, which the footer does not list.

    Raises:
        ConfigError: a metric or column is missing, or two values fall on one place.
    """
    _parts.require_columns(rows, item, x, hue, panel)
    for metric in (line, bar):
        if metric not in set(rows["metric"]):
            known = ", ".join(dict.fromkeys(rows["metric"]))
            raise ConfigError(f"figure '{item.title}': no row has metric '{metric}'. There are: {known}.")
    rows = rows[rows["metric"].isin([line, bar]) & rows[x].notna()]
    lines, bars = (rows[rows["metric"] == metric] for metric in (line, bar))
    _parts.refuse_duplicates(lines, item, x, hue, panel)
    _parts.refuse_duplicates(bars, item, x, panel)
    places, columns, kinds = (_parts.distinct_levels(rows, column) for column in (x, panel, hue))
    places = sorted(places)
    colour = dict(zip(kinds, style.colours(kinds, item.colours), strict=True))
    figure, grid = _parts.panel_grid(1, len(columns), "row")
    highest = bars["value"].max()
    for column, level in enumerate(columns):
        axes = grid[0, column]
        behind = axes.twinx()
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        own_bars = _parts.rows_at_level(bars, panel, level).set_index(x)["value"].reindex(places)
        behind.bar(range(len(places)), own_bars, 0.6, color=style.GREY, alpha=0.3)
        behind.set_ylim(0, highest * 1.05 if np.isfinite(highest) and highest > 0 else 1)
        behind.grid(visible=False)
        for number, kind in enumerate(kinds):
            own = _parts.rows_at_level(_parts.rows_at_level(lines, panel, level), hue, kind).set_index(x)
            values = own["value"].reindex(places)
            mark = style.MARKERS[number % len(style.MARKERS)]
            axes.plot(range(len(places)), values, color=colour[kind], marker=mark, markersize=4.5)
        axes.set_xticks(range(len(places)), [level_texts(places, item.names)[place] for place in places])
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        axes.set_xlabel(display_name(x, item.names))
        if column == 0:
            axes.set_ylabel(_parts.axis_label(rows, line, names=item.names))
        if column == len(columns) - 1:
            behind.set_ylabel(_parts.axis_label(rows, bar, names=item.names))
        else:
            behind.set_yticklabels([])
    texts = level_texts(kinds, item.names)
    handles = [
        Line2D([], [], color=colour[kind], marker=style.MARKERS[i % len(style.MARKERS)], label=texts[kind])
        for i, kind in enumerate(kinds)
    ]
    grey = Patch(color=style.GREY, alpha=0.3, label=display_name(bar, item.names))
    style.legend(figure, [*handles, grey], display_name(hue, item.names))
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure
