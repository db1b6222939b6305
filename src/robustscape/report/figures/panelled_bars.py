"""Grouped bars in a grid of panels, each with its own groups, as in kim2023 figure 3.3."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def panelled_bars(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    across: str,
    down: str,
    first: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return a bar per metric in each group, from zero, with our number on it and the printed one as an open diamond.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the groups; a panel has those of its rows.
        across: factor of the columns of panels.
        down: factor of the rows of panels.
        first: factor whose level in a panel is the group that comes first, if it is among them.
        metrics: metrics to draw, of one unit; empty: the item's metrics.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, across, down, first)
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_duplicates(rows, item, x, across, down)
    columns, lines = _parts.distinct_levels(rows, across), _parts.distinct_levels(rows, down)
    colour = dict(zip(drawn, style.colours(drawn, item.colours), strict=True))
    texts = level_texts(_parts.distinct_levels(rows, x), item.names)
    figure, grid = style.panel_figure(len(lines), len(columns), width=5.2, height=2.3, sharey=True)
    for row, line in enumerate(lines):
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.rows_at_level(_parts.rows_at_level(rows, down, line), across, level)
            leading = set(part[first].dropna()) if first else set()
            groups = sorted(_parts.distinct_levels(part, x), key=lambda group: group not in leading)
            for place, metric in enumerate(drawn):
                own = part[part["metric"] == metric].set_index(x).reindex(groups)
                _draw_bars(axes, own, place, len(drawn), colour[metric])
            axes.set_xticks(range(len(groups)), [texts[group] for group in groups])
            axes.grid(visible=False, axis="x")
            axes.set_title(
                ", ".join(level_texts([value], item.names)[value] for value in (line, level) if value is not None)
            )
            if column == 0:
                axes.set_ylabel(display_name(str(rows["unit"].iloc[0]), item.names))
    handles = [Patch(color=colour[metric], label=display_name(metric, item.names)) for metric in drawn]
    if rows["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())  # type: ignore[arg-type]
    style.legend(figure, handles)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure


def _draw_bars(axes: Axes, own: pd.DataFrame, place: int, kinds: int, colour: object) -> None:
    """Draw the bars of one metric, with their numbers."""
    width = 0.8 / kinds
    middle = np.arange(len(own)) + (place - (kinds - 1) / 2) * width
    axes.bar(middle, own["value"], width * 0.92, color=colour, yerr=_parts.error_bar_lengths(own["std"]))
    axes.plot(middle, own["paper_value"], "D", markersize=5, **_parts.printed_marker(style.INK))
    for at, value in zip(middle, own["value"], strict=True):
        if np.isfinite(value):
            axes.annotate(
                f"{value:z.0f}", (at, max(value, 0)), (0, 1), textcoords="offset points", ha="center", fontsize=7.5
            )
