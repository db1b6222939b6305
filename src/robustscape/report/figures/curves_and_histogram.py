"""Curves by epoch on the left, a histogram over examples on the right: the two halves of kim2023 figure 2.16."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def curves_and_histogram(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str,
    curves: list[str],
    examples: str,
    over: str = "index",
    bins: Annotated[int, Field(ge=2)] = 40,
    clip: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return one panel per curve, one below the other, and beside them a histogram over the examples with their means.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor of the curves.
        hue: factor of the colours.
        curves: metrics of the curves.
        examples: metric of the histogram.
        over: column that numbers the examples.
        bins: number of bins.
        clip: fraction of the values at each end that is counted in the outermost bins.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, over)
    lines = rows[rows["metric"].isin(curves) & rows[x].notna()]
    each = rows[(rows["metric"] == examples) & rows[over].notna()]
    _parts.metrics_to_draw(lines, item, curves)
    _parts.metrics_to_draw(each, item, [examples])
    _parts.refuse_duplicates(lines, item, x, hue)
    kinds = _parts.distinct_levels(lines, hue)
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))

    figure = Figure(figsize=(10.6, 2.6 * len(curves) + 0.9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    places = figure.add_gridspec(len(curves), 2)
    for number, metric in enumerate(curves):
        axes = figure.add_subplot(places[number, 0])
        for kind in kinds:
            own = _parts.rows_at_level(lines[lines["metric"] == metric], hue, kind).sort_values(x)
            axes.plot(own[x], own["value"], color=colour[kind])
        axes.set_ylabel(_parts.axis_label(rows, metric, names=item.names))
        _parts.set_level_ticks(axes, list(lines[x]), x, names=item.names)
        axes.set_xlabel(display_name(x, item.names) if number == len(curves) - 1 else "")

    axes = figure.add_subplot(places[:, 1])
    low, high = each["value"].quantile([clip, 1 - clip])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    for kind in kinds:
        values = _parts.rows_at_level(each, hue, kind)["value"].to_numpy(float)
        _parts.draw_histogram(axes, values, edges, colour[kind])
    axes.set_xlabel(_parts.axis_label(rows, examples, names=item.names))
    axes.set_ylabel("examples (%)")
    texts = level_texts(kinds, item.names)
    handles = [Line2D([], [], color=colour[kind], linewidth=2.6, label=texts[kind]) for kind in kinds]
    style.legend(figure, handles, display_name(hue, item.names))
    style.dress_figure(
        figure, item.title, notes.figure_footer(lines, acknowledged, names=item.names) + " · dashed: mean"
    )
    return figure
