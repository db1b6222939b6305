"""The mean spectrum of a data set's images: its map and its diagonal, plain and on a logarithmic scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import axis_quantity

#: Smallest amplitude of a logarithmic scale, as a share of the largest.
FLOOR = 1e-6


@style.styled
def spectra(
    rows: pd.DataFrame,
    item: Item,
    *,
    down: str,
    x: str,
    y: str,
    map_metric: str,
    diagonal: str,
    along: str,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return four panels for each level of ``down``: map, diagonal, and both on a logarithmic scale.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        down: factor of the rows of panels.
        x: factor of the map's columns.
        y: factor of the map's rows, from top to bottom.
        map_metric: metric of the map.
        diagonal: metric of the diagonal.
        along: factor of the diagonal.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, down, x, y, along)
    levels = _parts.distinct_levels(rows, down)
    figure, grid = style.panel_figure(len(levels), 4, width=2.7, height=2.35)
    for line, level in enumerate(levels):
        own = _parts.rows_at_level(rows, down, level)
        cells = own[own["metric"] == map_metric].pivot(index=y, columns=x, values="value")
        values = cells.to_numpy(float)
        top = float(np.nanmax(values))
        low = max(float(np.nanmin(values)), FLOOR * top)
        curve = own[own["metric"] == diagonal].sort_values(along)
        for first, log in ((0, False), (2, True)):
            axes, beside = grid[line, first], grid[line, first + 1]
            norm = LogNorm(low, top) if log else Normalize(0, top)
            extent = (0, float(cells.columns.max()) + 1, float(cells.index.max()) + 1, 0)
            picture = np.clip(values, low, None) if log else values
            image = axes.imshow(picture, norm=norm, cmap=style.SEQUENTIAL, extent=extent, interpolation="nearest")
            figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
            axes.grid(visible=False)
            beside.plot(curve[along], curve["value"], color=style.OKABE_ITO[0])
            if log:
                beside.set_yscale("log")
            if line == 0:
                axes.set_title("S, logarithmic" if log else "S")
                beside.set_title("diagonal of S, logarithmic" if log else "diagonal of S")
            if line == len(levels) - 1:
                axes.set_xlabel("frequency")
                beside.set_xlabel("frequency")
        grid[line, 0].set_ylabel(_parts.panel_title(rows, down, level, names=item.names))
    footer = notes.figure_footer(rows, acknowledged, names=item.names)
    quantity = axis_quantity(map_metric, str(rows["unit"].iloc[0]), item.names)
    style.dress_figure(figure, item.title, f"S: {quantity} · {footer}")
    return figure
