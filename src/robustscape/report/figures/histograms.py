"""Histograms of quantities of single examples: margins, divergences, nonlinearity."""

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
from robustscape.report.words import display_name, level_texts


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
    """Return the percentage of the examples per bin, with the same bins for all levels; vertical lines are means.

    Args:
        rows: the item's CSV; rows with a number in the column ``over`` are examples.
        item: the item as the study describes it.
        hue: factor of the colours, or ``metric`` to put metrics of one unit into one panel.
        panel: factor of the columns of panels.
        over: column that numbers the examples.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics that examples have.
        bins: number of bins.
        clip: fraction of the values at each end that is counted in the outermost bins, so that a few outliers do not set
            the scale.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, over, panel, None if hue == "metric" else hue)
    rows = rows[rows[over].notna()]
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    bands = [drawn] if hue == "metric" else [[metric] for metric in drawn]
    columns, kinds = (
        _parts.distinct_levels(rows, panel),
        drawn if hue == "metric" else _parts.distinct_levels(rows, hue),
    )
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))
    figure, grid = _parts.panel_grid(len(bands), len(columns), "row", "row")
    for row, together in enumerate(bands):
        band = rows[rows["metric"].isin(together)]
        low, high = band["value"].quantile([clip, 1 - clip])
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        for column, level in enumerate(columns):
            axes, part = grid[row, column], _parts.rows_at_level(band, panel, level)
            for kind in kinds:
                values = _parts.rows_at_level(part, hue, kind)["value"].to_numpy(float)
                _parts.draw_histogram(axes, values, edges, colour[kind])
            if _parts.is_blank(part):
                _parts.mark_blank(axes, part)
            if row == 0:
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            unit = band["unit"].iloc[0]
            axes.set_xlabel(
                _parts.axis_label(rows, together[0], names=item.names)
                if len(together) == 1
                else f"value ({display_name(str(unit), item.names)})"
            )
            if column == 0:
                axes.set_ylabel("examples (%)")
    texts = {m: display_name(m, item.names) for m in drawn} if hue == "metric" else level_texts(kinds, item.names)
    handles = [Patch(facecolor=colour[kind], alpha=0.6, label=texts[kind]) for kind in kinds]
    style.legend(figure, handles, None if hue == "metric" else display_name(hue, item.names))
    said = notes.figure_footer(rows, acknowledged, names=item.names) + " · dashed: mean"
    style.dress_figure(figure, item.title, said)
    return figure
