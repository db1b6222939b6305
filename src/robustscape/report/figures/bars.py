"""Grouped bars with the printed numbers marked on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def bars(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str,
    panel: str | None = None,
    down: str | None = None,
    first: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    numbers: bool = False,
) -> Figure:
    """Return groups of bars from zero, with whiskers of one standard deviation and the printed number as an open diamond.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: factor of the groups; a panel has those of its rows.
        hue: factor of the bars in a group, or ``metric`` for metrics of one unit.
        panel: factor of the columns of panels.
        down: factor of the rows of panels.
        first: factor whose level in a panel is the group that comes first, if it is among them.
        metrics: metrics to draw; empty: the item's metrics.
        numbers: write our numbers on the bars.
    """
    _parts.require_columns(rows, item, first)
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, panel, down, metrics=metrics)
    if len(drawn) > 1 and "metric" not in (hue, down):
        raise ConfigError(f"figure '{item.title}': {len(drawn)} metrics, but neither 'hue' nor 'down' is 'metric'.")
    columns, lines = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, down)
    colour = style.palette(drawn if hue == "metric" else _parts.distinct_levels(rows, hue), item)
    words = level_texts(_parts.distinct_levels(rows, x), item.names)
    width, height = (5.2, 2.3) if down else (max(4.3, 0.32 * len(words) * len(colour) + 1.0), 3.3)
    figure, grid = style.panel_figure(len(lines), len(columns), width=width, height=height, sharey=True)
    for (row, column), axes in np.ndenumerate(grid):
        part = _parts.rows_at_level(_parts.rows_at_level(rows, down, lines[row]), panel, columns[column])
        leading = set(part[first].dropna()) if first else set()
        groups = sorted(_parts.distinct_levels(part, x), key=lambda group: group not in leading)
        _draw_groups(axes, part, x, hue, groups, colour, numbers=numbers)
        texts = [words[group] for group in groups]
        turn = {"rotation": 35, "ha": "right"} if max(map(len, texts)) * len(texts) > 9 * width else {}
        axes.set_xticks(range(len(groups)), texts, **turn)
        titles = [
            _parts.panel_title(rows, *of, names=item.names) for of in ((down, lines[row]), (panel, columns[column]))
        ]
        axes.set_title(", ".join(filter(None, titles)))
        axes.set_xlabel(display_name(x, item.names) if row == len(lines) - 1 else "")
        axes.set_ylabel(_parts.shared_axis_label(rows, drawn, names=item.names) if column == 0 else "")
    said = level_texts(colour, item.names)
    handles = [Patch(color=shade, label=said[level]) for level, shade in colour.items()]
    return _parts.finish_figure(figure, item, rows, [*handles, *_parts.printed_entries(rows)], legend=hue)


def _draw_groups(
    axes: Axes, rows: pd.DataFrame, x: str, hue: str, groups: list[Any], colour: dict[Any, Any], *, numbers: bool
) -> None:
    """Draw a bar for each colour in each group, with its whisker, its printed number and, if wanted, ours on it."""
    sns.barplot(
        rows, x=x, y="value", hue=hue, order=groups, hue_order=list(colour), palette=colour, saturation=1, gap=0.08,
        errorbar=None, legend=False, ax=axes,
    )  # fmt: skip
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.grid(visible=False, axis="x")
    for place, level in enumerate(colour):
        own = _parts.rows_at_level(rows, hue, level).set_index(x).reindex(groups)
        middles = np.arange(len(groups)) + 0.8 * ((place + 0.5) / len(colour) - 0.5)  # as seaborn places them
        axes.errorbar(middles, own["value"], own["std"], fmt="none", ecolor=style.INK, elinewidth=1)
        axes.plot(middles, own["paper_value"], "D", markersize=5.5, **_parts.printed_marker(style.INK))
        for middle, value in zip(middles, own["value"], strict=True):
            if numbers and np.isfinite(value):
                look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5}
                axes.annotate(f"{value:z.0f}", (middle, max(value, 0)), (0, 1), **look)
