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
from robustscape.report.words import levels, name


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
    """One panel a curve, one below the other, and beside them the share of the examples by value, with their means.

    Args:
        rows: the item's CSV.
        item: its stanza.
        x: numeric factor of the curves.
        hue: factor of the colours.
        curves: metrics of the curves.
        examples: metric of the histogram.
        over: column that numbers the examples.
        bins: how many.
        clip: share of the values at each end that the outermost bins take in.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, x, hue, over)
    lines = rows[rows["metric"].isin(curves) & rows[x].notna()]
    each = rows[(rows["metric"] == examples) & rows[over].notna()]
    _parts.metrics(lines, item, curves)
    _parts.metrics(each, item, [examples])
    _parts.refuse_doubled(lines, item, x, hue)
    kinds = _parts.distinct(lines, hue)
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))

    figure = Figure(figsize=(10.6, 2.6 * len(curves) + 0.9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    places = figure.add_gridspec(len(curves), 2)
    for number, metric in enumerate(curves):
        axes = figure.add_subplot(places[number, 0])
        for kind in kinds:
            own = _parts.at(lines[lines["metric"] == metric], hue, kind).sort_values(x)
            axes.plot(own[x], own["value"], color=colour[kind])
        axes.set_ylabel(_parts.axis_name(rows, metric, names=item.names))
        _parts.ticks(axes, list(lines[x]), x, names=item.names)
        axes.set_xlabel(name(x, item.names) if number == len(curves) - 1 else "")

    axes = figure.add_subplot(places[:, 1])
    low, high = each["value"].quantile([clip, 1 - clip])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    for kind in kinds:
        values = _parts.at(each, hue, kind)["value"].to_numpy(float)
        kept, weights = values.clip(edges[0], edges[-1]), np.full(len(values), 100 / max(1, len(values)))
        axes.hist(kept, edges.tolist(), weights=weights, color=colour[kind], alpha=0.35)
        axes.hist(kept, edges.tolist(), weights=weights, color=colour[kind], histtype="step", linewidth=1.4)
        if len(values):
            axes.axvline(values.mean(), color=style.darker(colour[kind], 0.75), linewidth=1.8, linestyle=(0, (4, 1.5)))
    axes.set_xlabel(_parts.axis_name(rows, examples, names=item.names))
    axes.set_ylabel("examples (%)")
    texts = levels(kinds, item.names)
    handles = [Line2D([], [], color=colour[kind], linewidth=2.6, label=texts[kind]) for kind in kinds]
    style.legend(figure, handles, name(hue, item.names))
    style.dress(figure, item.title, notes.footer(lines, acknowledged, names=item.names) + " · dashed: mean")
    return figure
