"""A metric over two factors: transfer matrices with the numbers in their cells, loss surfaces from above."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, format_number, is_number, level_texts

#: Cells carry their numbers in matrices of up to this many rows and columns.
_READABLE = 12


@style.styled
def heatmap(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    y: str,
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return maps whose colour is the value, on one scale for all panels of a metric.

    Small matrices carry our number and, in brackets, the printed one in each cell.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the columns.
        y: factor of the rows: words from top to bottom in their order, numbers from bottom to top.
        panel: factor of the panels.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics.
    """
    _parts.require_columns(rows, item, y)
    rows, drawn = _parts.rows_to_draw(rows[rows[y].notna()], item, x, y, panel, metrics=metrics)
    columns, across, down = (_parts.distinct_levels(rows, column) for column in (panel, x, y))
    readable = max(len(across), len(down)) <= _READABLE
    width, height = (max(4.0, 0.75 * len(across) + 1.6), max(3.0, 0.45 * len(down) + 1.2)) if readable else (3.9, 3.6)
    figure, grid = style.panel_figure(len(drawn), len(columns), width=width, height=height)
    for (row, column), axes in np.ndenumerate(grid):
        values = rows[rows["metric"] == drawn[row]]
        part = _parts.rows_at_level(values, panel, columns[column])
        ours, paper = (
            part.pivot(index=y, columns=x, values=v).reindex(down, columns=across) for v in ("value", "paper_value")
        )
        low, high = values["value"].min(), values["value"].max()
        _draw_cells(axes, ours, low, high, item)
        if readable:
            _write_cell_numbers(axes, ours, paper, str(values["unit"].iloc[0]), (low, high))
        else:
            axes.set_aspect(len(across) / len(down))
        axes.set_title(_parts.panel_title(rows, panel, columns[column], names=item.names))
        axes.set_xlabel(display_name(x, item.names))
        axes.set_ylabel(display_name(y, item.names) if column == 0 else "")
        if column == len(columns) - 1:
            label = _parts.axis_label(rows, drawn[row], names=item.names)
            _parts.draw_colour_bar(figure, axes.collections[0], list(grid[row]), label, shrink=0.9, pad=0.02)
    said = " · in brackets: printed in the paper" if rows["paper_value"].notna().any() else ""
    return _parts.finish_figure(figure, item, rows, said=said)


def _draw_cells(axes: Axes, ours: pd.DataFrame, low: float, high: float, item: Item) -> None:
    """Draw the cells, with the levels beside those of both axes, or beside every few if there are many."""
    across, down = (list(level_texts(levels, item.names).values()) for levels in (ours.columns, ours.index))
    every = [1 if len(names) <= _READABLE else max(1, (len(names) - 1) // 4) for names in (across, down)]
    cells = ours.set_axis(across, axis=1).set_axis(down).astype(float)
    ticks = {"xticklabels": every[0], "yticklabels": every[1]}
    sns.heatmap(cells, vmin=low, vmax=high, cmap=style.SEQUENTIAL, cbar=False, ax=axes, **ticks)
    axes.tick_params(length=0, rotation=0)
    if max(map(len, across)) > 6 and every[0] == 1:
        for tick in axes.get_xticklabels():
            tick.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
    if all(is_number(value) for value in ours.index):
        axes.invert_yaxis()


def _write_cell_numbers(
    axes: Axes, ours: pd.DataFrame, paper: pd.DataFrame, unit: str, ends: tuple[float, float]
) -> None:
    """Write our number and, in brackets, the printed one into each cell, dark on light colours and white on dark ones."""
    for i, j in np.ndindex(ours.shape):
        value, printed = float(ours.iat[i, j]), float(paper.iat[i, j])
        text = format_number(value, unit)
        if not np.isnan(printed):
            text = f"{text or '-'}\n({format_number(printed, unit)})"
        dark = np.isnan(value) or value > ends[0] + 0.6 * (ends[1] - ends[0])
        colour = style.INK if dark else "white"
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=8.5, color=colour, linespacing=1.1)
