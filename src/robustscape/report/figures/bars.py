"""Grouped bars with the printed numbers marked on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def bars(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str | None = None,
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return groups of bars from zero, with whiskers of one standard deviation and the printed number as an open diamond.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the groups.
        hue: factor of the bars in a group, or ``metric`` for metrics of one unit.
        panel: factor of the columns of panels.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, panel)
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn) & rows[x].notna()]
    _parts.refuse_duplicates(rows, item, x, hue, panel)
    groups, columns = _parts.distinct_levels(rows, x), _parts.distinct_levels(rows, panel)
    kinds = drawn if hue == "metric" else _parts.distinct_levels(rows, hue)
    colour = dict(zip(kinds, style.colours(kinds, item.colours), strict=True))
    bands = [drawn] if hue == "metric" else [[metric] for metric in drawn]
    width = 0.8 / len(kinds)

    inches = max(4.3, 0.32 * len(groups) * len(kinds) + 1.0)
    figure, grid = style.panel_figure(len(bands), len(columns), width=inches, sharex=True, sharey="row")
    for row, together in enumerate(bands):
        for column, level in enumerate(columns):
            axes = grid[row, column]
            part = _parts.rows_at_level(rows[rows["metric"].isin(together)], panel, level)
            for place, kind in enumerate(kinds):
                own = _parts.rows_at_level(part, hue, kind).drop_duplicates(x).set_index(x).reindex(groups)
                middle = np.arange(len(groups)) + (place - (len(kinds) - 1) / 2) * width
                axes.bar(
                    middle,
                    own["value"],
                    width * 0.92,
                    color=colour[kind],
                    yerr=_parts.error_bar_lengths(own["std"]),
                    error_kw={"ecolor": style.INK, "elinewidth": 1.0, "capsize": 2.0},
                )
                axes.plot(middle, own["paper_value"], "D", markersize=5.5, **_parts.printed_marker(style.INK))
            texts = level_texts(groups, item.names)
            words = [texts[group] for group in groups]
            turn = 0 if max(map(len, words)) * len(words) < 9 * inches else 35
            axes.set_xticks(range(len(groups)), words, rotation=turn, ha="right" if turn else "center")
            axes.grid(visible=False, axis="x")
            axes.axhline(0, color=style.GREY, linewidth=0.8)
            if row == 0:
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            if row == len(bands) - 1:
                axes.set_xlabel(display_name(x, item.names))
            if column == 0:
                axes.set_ylabel(
                    _parts.axis_label(rows, together[0], names=item.names)
                    if len(together) == 1
                    else _unit(rows, names=item.names)
                )
    texts = {m: display_name(m, item.names) for m in drawn} if hue == "metric" else level_texts(kinds, item.names)
    handles = [Patch(color=colour[kind], label=texts[kind]) for kind in kinds] if hue else []
    if rows["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())  # type: ignore[arg-type]
    if handles:
        style.legend(figure, handles, display_name(hue, item.names) if hue and hue != "metric" else None)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure


def _unit(rows: pd.DataFrame, *, names: Mapping[str, str]) -> str:
    return ", ".join(display_name(str(unit), names) for unit in rows["unit"].dropna().unique())
