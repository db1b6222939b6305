"""Curves by epoch on the left, a histogram over examples on the right: the two halves of kim2023 figure 2.16."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import level_texts


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
    _parts.require_columns(rows, item, hue, over)
    lines, _ = _parts.rows_to_draw(rows[rows["metric"].isin(curves)], item, x, hue, metrics=curves)
    each = rows[(rows["metric"] == examples) & rows[over].notna()]
    _parts.metrics_to_draw(each, item, [examples])
    kinds = _parts.distinct_levels(lines, hue)
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))
    figure = style.empty_figure(10.6, 2.6 * len(curves) + 0.9)
    places = figure.add_gridspec(len(curves), 2)
    for number, metric in enumerate(curves):
        axes = figure.add_subplot(places[number, 0])
        own = _facets.rows_to_plot(lines[lines["metric"] == metric], x, hue)
        _facets.draw_on(_facets.line_plot(own, x, hue, colour), axes)
        _parts.set_level_ticks(axes, list(lines[x]), x, names=item.names)
        axes.set(ylabel=_parts.axis_label(rows, metric, names=item.names))
        if number < len(curves) - 1:
            axes.set_xlabel("")
    axes = figure.add_subplot(places[:, 1])
    _parts.draw_histograms(axes, each, hue, colour, _parts.bin_edges(each["value"], bins, clip))
    axes.set(xlabel=_parts.axis_label(rows, examples, names=item.names), ylabel="examples (%)")
    handles = _facets.legend_entries(colour, level_texts(kinds, item.names))
    return _parts.finish_figure(figure, item, lines, acknowledged, handles=handles, legend=hue, said=" · dashed: mean")
