"""Curves in panels that are described one by one: each with its metric, its selection of rows and its own scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.level_matching import same_level
from robustscape.report.words import display_name, level_texts

#: Line styles by name, in the order in which the levels of ``dash`` get them.
_DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 1.5)), "dashdot": (0, (6, 2, 1, 2))}

_KEYS = {"metric", "where", "title", "log_y"}


@style.styled
def panelled_curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    panels: list[dict],  # type: ignore[type-arg]
    hue: str | None = None,
    dash: str | None = None,
    dashes: dict[str, Literal["solid", "dashed", "dotted", "dashdot"]] = {},  # noqa: B006  (a schema; never changed)
    columns: int = 2,
    steps: bool = False,
    marks: bool = False,
    thin: float = 1.6,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return the mean against ``x`` with a band of one standard deviation, in a grid of panels that share no axis.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axes.
        panels: one mapping per panel, in reading order, with keys ``metric``, ``where`` (factor -> level), ``title``, ``log_y``.
        hue: factor of the colours; numbers are coloured in their order.
        dash: factor of the line styles; the first level in the CSV is solid.
        dashes: level of that factor -> line style, where it differs from the order of the CSV.
        columns: panels side by side.
        steps: draw piecewise constant lines, for schedules.
        marks: draw a mark at every point.
        thin: width of the lines in points.
        acknowledged: known flags, which the footer does not list.

    Raises:
        ConfigError: a panel has an unknown key, metric or column, or two values fall on one place.
    """
    _parts.require_columns(rows, item, x, hue, dash)
    rows = rows[rows[x].notna()]
    down = math.ceil(len(panels) / columns)
    figure, grid = style.panel_figure(down, min(columns, len(panels)), height=3.0)
    lines, kinds = _parts.distinct_levels(rows, hue), _parts.distinct_levels(rows, dash)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    stroke = {kind: _DASHES[dashes.get(str(kind), usual)] for kind, usual in zip(kinds, _DASHES, strict=False)}
    drawn = []
    for axes, panel in zip(grid.flat, panels, strict=False):
        part = _chosen(rows, item, panel)
        _parts.refuse_duplicates(part, item, x, hue, dash)
        drawn.append(part)
        for line in lines:
            for kind in kinds:
                own = _parts.rows_at_level(_parts.rows_at_level(part, hue, line), dash, kind).sort_values(x)
                own = own[own["n"] > 0]
                mark = style.MARKERS[lines.index(line) % len(style.MARKERS)] if marks else None
                look = {
                    "color": colour[line],
                    "linestyle": stroke[kind],
                    "linewidth": thin,
                    "marker": mark,
                    "markersize": 4,
                }
                _draw_line(axes, own, x, steps, **look)
        if _parts.is_blank(part):
            _parts.mark_blank(axes, part)
        if panel.get("log_y"):
            _parts.set_log_y(axes)
        axes.set_title(panel.get("title", ""))
        axes.set_xlabel(display_name(x, item.names))
        axes.set_ylabel(_parts.axis_label(rows, panel["metric"], names=item.names))
        axes.locator_params(axis="x", nbins=6, integer=True) if _whole(part[x]) else axes.locator_params("x", nbins=6)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    _legend(figure, lines, colour, hue, kinds if dash else [], stroke, names=item.names)
    style.dress_figure(figure, item.title, notes.figure_footer(pd.concat(drawn), acknowledged, names=item.names))
    return figure


def _chosen(rows: pd.DataFrame, item: Item, panel: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of a panel.

    Raises:
        ConfigError: the panel has an unknown key, metric or column.
    """
    if strange := set(panel) - _KEYS:
        raise ConfigError(f"figure '{item.title}': a panel has keys {sorted(strange)}; allowed: {sorted(_KEYS)}.")
    if panel.get("metric") not in set(rows["metric"]):
        known = ", ".join(dict.fromkeys(rows["metric"]))
        raise ConfigError(f"figure '{item.title}': a panel's metric is '{panel.get('metric')}'. There are: {known}.")
    part = rows[rows["metric"] == panel["metric"]]
    for factor, wanted in panel.get("where", {}).items():
        _parts.require_columns(rows, item, factor)
        part = part[[same_level(level, wanted) for level in part[factor]]]
    return part


def _draw_line(axes: Any, own: pd.DataFrame, x: str, steps: bool, **look: Any) -> None:
    """Draw a line, or a dot where there is one point, with its band of one standard deviation."""
    where = {"drawstyle": "steps-post"} if steps else {}
    axes.plot(own[x], own["value"], **{**look, "marker": look["marker"] or ("o" if len(own) < 2 else None)}, **where)
    _parts.draw_deviation_band(axes, own[x], own, look["color"])


def _whole(values: pd.Series) -> bool:
    return bool((values.astype(float) % 1 == 0).all())


def _legend(
    figure: Figure,
    lines: list[Any],
    colour: Any,
    hue: str | None,
    kinds: list[Any],
    stroke: Any,
    *,
    names: Mapping[str, str],
) -> None:
    """Draw the legend: the colours, then the line styles in grey."""
    handles = []
    if hue is not None:
        texts = level_texts(lines, names)
        handles = [Line2D([], [], color=colour[line], linewidth=2.6, label=texts[line]) for line in lines]
    if kinds:
        texts = level_texts(kinds, names)
        handles += [
            Line2D([], [], color=style.GREY, linestyle=stroke[kind], linewidth=2, label=texts[kind]) for kind in kinds
        ]
    if handles:
        style.legend(figure, handles, display_name(hue, names) if hue else None)
