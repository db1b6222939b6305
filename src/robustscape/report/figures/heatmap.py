"""A metric over two factors: transfer matrices with the numbers in their cells, loss surfaces from above."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import notes, style
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
    contours: bool = False,
    acknowledged: list[str] = [],  # noqa: B006
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
        contours: draw lines of equal value, for surfaces.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, y, panel)
    rows = rows[rows[x].notna() & rows[y].notna()]
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_duplicates(rows, item, x, y, panel)
    columns, across, down = (_parts.distinct_levels(rows, column) for column in (panel, x, y))
    readable = max(len(across), len(down)) <= _READABLE
    width, height = (max(4.0, 0.75 * len(across) + 1.6), max(3.0, 0.45 * len(down) + 1.2)) if readable else (3.9, 3.6)
    figure, grid = style.panel_figure(len(drawn), len(columns), width=width, height=height)
    for row, metric in enumerate(drawn):
        values = rows[rows["metric"] == metric]
        low, high = values["value"].min(), values["value"].max()
        scale = ScalarMappable(Normalize(low, high), style.SEQUENTIAL)
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.rows_at_level(values, panel, level)
            ours, paper = (
                part.pivot(index=y, columns=x, values=v).reindex(down, columns=across) for v in ("value", "paper_value")
            )
            axes.pcolormesh(np.ma.masked_invalid(ours.to_numpy(float)), cmap=scale.cmap, norm=scale.norm)
            axes.grid(visible=False)
            _label(axes, across, down, names=item.names)
            if readable:
                _write_cell_numbers(
                    axes, ours.to_numpy(float), paper.to_numpy(float), str(values["unit"].iloc[0]), low, high
                )
            else:
                axes.set_aspect(len(across) / len(down))
            if contours:
                middle = np.arange(len(across)) + 0.5, np.arange(len(down)) + 0.5
                axes.contour(*middle, ours.to_numpy(float), levels=10, colors="white", linewidths=0.6, alpha=0.8)
            axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            axes.set_xlabel(display_name(x, item.names))
            if column == 0:
                axes.set_ylabel(display_name(y, item.names))
        bar = figure.colorbar(scale, ax=list(grid[row]), shrink=0.9, pad=0.02)
        bar.set_label(_parts.axis_label(rows, metric, names=item.names))
        bar.outline.set_visible(False)
    said = " · in brackets: printed in the paper" if rows["paper_value"].notna().any() else ""
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names) + said)
    return figure


def _label(axes: Axes, across: list[object], down: list[object], *, names: Mapping[str, str]) -> None:
    """Put the levels at the cells of both axes; at every few cells if there are many."""
    for axis, values in ((axes.xaxis, across), (axes.yaxis, down)):
        every = 1 if len(values) <= _READABLE else max(1, (len(values) - 1) // 4)
        texts = level_texts(values, names)
        shown = list(range(0, len(values), every))
        axis.set_ticks([i + 0.5 for i in shown], [texts[values[i]] for i in shown])
    axes.tick_params(length=0)
    if max(len(text) for text in level_texts(across, names).values()) > 6 and len(across) <= _READABLE:
        axes.tick_params(axis="x", rotation=35)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    if not all(is_number(value) for value in down):
        axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def _write_cell_numbers(axes: Axes, ours: np.ndarray, paper: np.ndarray, unit: str, low: float, high: float) -> None:
    """Write our number and, in brackets, the printed one into each cell, dark on light colours and white on dark ones."""
    for i, j in np.ndindex(ours.shape):
        text = format_number(float(ours[i, j]), unit)
        if not np.isnan(paper[i, j]):
            text = f"{text or '-'}\n({format_number(float(paper[i, j]), unit)})"
        light = high > low and (ours[i, j] - low) / (high - low) > 0.6
        colour = "white" if not (light or np.isnan(ours[i, j])) else style.INK
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=8.5, color=colour, linespacing=1.1)
