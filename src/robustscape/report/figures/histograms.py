"""Histograms of quantities of single examples: margins, divergences, nonlinearity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pydantic import Field

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import level_texts


@style.styled
def histograms(
    rows: pd.DataFrame,
    item: Item,
    *,
    hue: str,
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    clip: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
) -> Figure:
    """Return the percentage of the examples per bin, with the same bins for all levels; vertical lines are means.

    Args:
        rows: the item's CSV; rows with a number in the column ``index`` are examples.
        item: the item as the study describes it.
        hue: factor of the colours, or ``metric`` to put metrics of one unit into one panel.
        panel: factor of the columns of panels.
        metrics: metrics to draw, one row of panels per metric; empty: the item's metrics that examples have.
        clip: fraction of the values at each end that is counted in the outermost bins, so that a few outliers do not set
            the scale.
    """
    _parts.require_columns(rows, item, "index", panel, hue)
    rows = rows[rows["index"].notna()]
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    bands = [drawn] if hue == "metric" else [[metric] for metric in drawn]
    kinds, columns = _parts.distinct_levels(rows, hue), _parts.distinct_levels(rows, panel)
    colour = dict(zip(kinds, style.colours([str(kind) for kind in kinds], item.colours), strict=True))
    figure, grid = _parts.panel_grid(len(bands), len(columns))
    for (row, column), axes in np.ndenumerate(grid):
        band = rows[rows["metric"].isin(bands[row])]
        part = _parts.rows_at_level(band, panel, columns[column])
        _parts.draw_histograms(axes, part, hue, colour, _parts.bin_edges(band["value"], clip))
        _parts.mark_if_blank(axes, part)
        if row == 0:
            axes.set_title(_parts.panel_title(rows, panel, columns[column], names=item.names))
        axes.set_xlabel(_parts.shared_axis_label(band, bands[row], names=item.names))
        axes.set_ylabel("examples (%)" if column == 0 else "")
    texts = level_texts(kinds, item.names)
    handles = [Patch(facecolor=colour[kind], alpha=0.6, label=texts[kind]) for kind in kinds]
    return _parts.finish_figure(figure, item, rows, handles, legend=hue, said=" · dashed: mean")
