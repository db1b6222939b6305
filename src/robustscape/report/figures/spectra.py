"""The mean spectrum of a data set's images: its map and its diagonal, plain and on a logarithmic scale."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts

#: Smallest amplitude of a logarithmic scale, as a share of the largest.
FLOOR = 1e-6
_TITLES = ("S", "diagonal of S", "S, logarithmic", "diagonal of S, logarithmic")


@style.styled
def spectra(rows: pd.DataFrame, item: Item, *, down: str) -> Figure:
    """Return four panels for each level of ``down``: map, diagonal, and both on a logarithmic scale.

    Args:
        rows: the item's CSV, with the metrics mean_abs_dct over vertical and horizontal, from top to bottom, and
            diagonal_amplitude over frequency.
        item: the item as the study describes it.
        down: factor of the rows of panels.
    """
    _parts.require_columns(rows, item, down, "horizontal", "vertical", "frequency")
    levels = _parts.distinct_levels(rows, down)
    figure, grid = style.panel_figure(len(levels), 4, width=2.7, height=2.35)
    for line, level in zip(grid, levels, strict=True):
        own = _parts.rows_at_level(rows, down, level)
        amplitudes, diagonal = (own[own["metric"] == metric] for metric in ("mean_abs_dct", "diagonal_amplitude"))
        cells = amplitudes.pivot(index="vertical", columns="horizontal", values="value").astype(float)
        top = cells.max(axis=None)
        low = max(cells.min(axis=None), FLOOR * top)
        extent = (0, float(cells.columns.max()) + 1, float(cells.index.max()) + 1, 0)
        for axes, norm in ((line[0], Normalize(0, top)), (line[2], LogNorm(low, top, clip=True))):
            # Not sns.heatmap, which draws the whole figure once more for every map, to see whether its ticks overlap.
            image = axes.imshow(cells, norm=norm, cmap=style.SEQUENTIAL, extent=extent, interpolation="nearest")
            figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
            axes.grid(visible=False)
        for axes in line[1::2]:
            sns.lineplot(diagonal, x="frequency", y="value", errorbar=None, ax=axes)
        line[3].set_yscale("log")
        for axes in line:
            axes.set(xlabel="frequency" if level == levels[-1] else "", ylabel="")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for axes in line[::2]:
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        line[0].set_ylabel(_parts.panel_title(rows, down, level, names=item.names))
    for axes, title in zip(grid[0], _TITLES, strict=True):
        axes.set_title(title)
    quantity = _parts.axis_label(rows, "mean_abs_dct", names=item.names)
    return _parts.finish_figure(figure, item, rows, first=f"S: {quantity} · ")
