"""The mean spectrum of a data set's images: its map and its diagonal, plain and on a logarithmic scale."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import axis_quantity

#: Smallest amplitude of a logarithmic scale, as a share of the largest.
FLOOR = 1e-6
_TITLES = ("S", "diagonal of S", "S, logarithmic", "diagonal of S, logarithmic")


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
    """
    _parts.require_columns(rows, item, down, x, y, along)
    levels = _parts.distinct_levels(rows, down)
    figure, grid = style.panel_figure(len(levels), 4, width=2.7, height=2.35)
    for line, level in zip(grid, levels, strict=True):
        own = _parts.rows_at_level(rows, down, level)
        cells = own[own["metric"] == map_metric].pivot(index=y, columns=x, values="value").astype(float)
        top = cells.max(axis=None)
        low = max(cells.min(axis=None), FLOOR * top)
        extent = (0, float(cells.columns.max()) + 1, float(cells.index.max()) + 1, 0)
        for axes, norm in ((line[0], Normalize(0, top)), (line[2], LogNorm(low, top, clip=True))):
            # Not sns.heatmap, which draws the whole figure once more for every map, to see whether its ticks overlap.
            image = axes.imshow(cells, norm=norm, cmap=style.SEQUENTIAL, extent=extent, interpolation="nearest")
            figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
            axes.grid(visible=False)
        for axes in line[1::2]:
            sns.lineplot(own[own["metric"] == diagonal], x=along, y="value", errorbar=None, ax=axes)
        line[3].set_yscale("log")
        for axes in line:
            axes.set(xlabel="frequency" if level == levels[-1] else "", ylabel="")
        line[0].set_ylabel(_parts.panel_title(rows, down, level, names=item.names))
    for axes, title in zip(grid[0], _TITLES, strict=True):
        axes.set_title(title)
    quantity = axis_quantity(map_metric, str(rows["unit"].iloc[0]), item.names)
    return _parts.finish_figure(figure, item, rows, first=f"S: {quantity} · ")
