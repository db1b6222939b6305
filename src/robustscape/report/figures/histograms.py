"""Histograms of quantities that every example has: margins, divergences, nonlinearity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pydantic import Field

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import levels, name


@style.styled
def histograms(
    rows: pd.DataFrame,
    item: Item,
    *,
    hue: str,
    panel: str | None = None,
    over: str = "index",
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    bins: Annotated[int, Field(ge=2)] = 40,
    clip: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Share of the examples by value, the same bins for every line; the vertical lines are means.

    Args:
        rows: the item's CSV; values with a number in the column ``over`` are examples.
        item: its stanza.
        hue: factor of the colours, or ``metric`` to put metrics of one unit into one panel.
        panel: factor of the columns of panels.
        over: column that numbers the examples.
        metrics: what to draw, one row of panels each; empty: the item's metrics that examples have.
        bins: how many.
        clip: share of the values at each end that the outermost bins take in, so that a few outliers do not set the scale.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, over, panel, None if hue == "metric" else hue)
    rows = rows[rows[over].notna()]
    drawn = _parts.metrics(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    bands = [drawn] if hue == "metric" else [[metric] for metric in drawn]
    columns, kinds = _parts.distinct(rows, panel), drawn if hue == "metric" else _parts.distinct(rows, hue)
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))
    figure, grid = _parts.panels(len(bands), len(columns), "row", "row")
    for row, together in enumerate(bands):
        band = rows[rows["metric"].isin(together)]
        low, high = band["value"].quantile([clip, 1 - clip])
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.at(band, panel, level)
            for kind in kinds:
                values = _parts.at(part, hue, kind)["value"].to_numpy(float)
                if not len(values):
                    continue
                weights = np.full(len(values), 100 / len(values))
                kept = values.clip(edges[0], edges[-1])
                axes.hist(kept, edges, weights=weights, color=colour[kind], alpha=0.35)
                axes.hist(kept, edges, weights=weights, color=colour[kind], histtype="step", linewidth=1.4)
                axes.axvline(
                    values.mean(), color=style.darker(colour[kind], 0.75), linewidth=1.8, linestyle=(0, (4, 1.5))
                )
            if _parts.blank(part):
                _parts.nothing(axes)
            if row == 0:
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            unit = band["unit"].iloc[0]
            axes.set_xlabel(
                _parts.axis_name(rows, together[0], names=item.names)
                if len(together) == 1
                else f"value ({name(str(unit), item.names)})"
            )
            if column == 0:
                axes.set_ylabel("examples (%)")
    texts = {m: name(m, item.names) for m in drawn} if hue == "metric" else levels(kinds, item.names)
    handles = [Patch(facecolor=colour[kind], alpha=0.6, label=texts[kind]) for kind in kinds]
    style.legend(figure, handles, None if hue == "metric" else name(hue, item.names))
    said = notes.footer(rows, acknowledged, names=item.names) + " · dashed: mean"
    style.dress(figure, item.title, said)
    return figure
