"""Curves in panels that are described one by one: each with its metric, its selection of rows and its own scale."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name, level_texts

#: Line styles by name, in the order in which the levels of ``dash`` get them.
_DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 1.5)), "dashdot": (0, (6, 2, 1, 2))}


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
    drawn = [_parts.rows_of_panel(rows, item, panel, ("metric", "where", "title", "log_y")) for panel in panels]
    for part in drawn:
        _parts.refuse_duplicates(part, item, x, hue, dash)
    shown = pd.concat([part.assign(place=place) for place, part in enumerate(drawn)])
    lines, kinds = _parts.distinct_levels(rows, hue), _parts.distinct_levels(rows, dash)
    colour = style.palette(lines, item)
    stroke = {kind: _DASHES[dashes.get(str(kind), usual)] for kind, usual in zip(kinds, _DASHES, strict=False)}
    marker = dict(zip(lines, itertools.cycle(style.MARKERS))) if marks else None
    look = {"linewidth": thin, "pointsize": 4, "artist_kws": {"drawstyle": "steps-post"} if steps else {}}
    plotted = _facets.rows_to_plot(shown, x, hue, dash, "place").drop(columns="paper_value")
    plot = _facets.line_plot(
        plotted.assign(paper_value=np.nan), x, hue, colour, marker=marker, dash=dash, strokes=stroke, **look
    )
    places = list(range(len(panels)))
    figure, grid = _facets.draw_facets(plot, ("place", places), wrap=columns, share_x=False, share_y=False, height=3.0)
    for axes, panel, part in zip(grid.flat, panels, drawn, strict=True):
        if _parts.is_blank(part):
            _parts.mark_blank(axes, part)
        if panel.get("log_y"):
            _parts.set_log_y(axes)
        axes.set_title(panel.get("title", ""))
        axes.set_xlabel(display_name(x, item.names))
        axes.set_ylabel(_parts.axis_label(rows, panel["metric"], names=item.names))
        axes.locator_params(axis="x", nbins=6, integer=bool((part[x].astype(float) % 1 == 0).all()))
    handles = _facets.legend_entries(colour, level_texts(colour, item.names)) if hue else []
    if dash:
        texts = level_texts(stroke, item.names)
        handles += [Line2D([], [], color=style.GREY, linestyle=stroke[k], linewidth=2, label=texts[k]) for k in stroke]
    return _parts.finish_figure(figure, item, pd.concat(drawn), acknowledged, handles=handles, legend=hue)
