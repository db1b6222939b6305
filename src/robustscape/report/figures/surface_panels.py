"""Many loss surfaces side by side, in perspective, with lines of equal value on the floor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import levels, name

#: Cells of a side that are drawn; finer grids are thinned, so that the vector file stays small.
_DRAWN = 61


@style.styled
def surface_panels(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    y: str,
    panel: str,
    metric: str,
    wrap: int = 3,
    contours: int = 12,
    elevation: float = 32.0,
    azimuth: float = -58.0,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Height and colour are the value, each panel on its own scale; below it, lines of equal value.

    Args:
        rows: the item's CSV.
        item: its stanza.
        x: first coordinate.
        y: second coordinate.
        panel: factor of the panels.
        metric: the height.
        wrap: panels in a row.
        contours: lines of equal value; 0: none.
        elevation: degrees above the plane from which one looks.
        azimuth: degrees around the vertical axis.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, x, y, panel)
    rows = rows[(rows["metric"] == metric) & rows[x].notna() & rows[y].notna()]
    _parts.refuse_doubled(rows, item, x, y, panel)
    panels = _parts.distinct(rows, panel)
    across = min(wrap, len(panels))
    down = -(-len(panels) // across)
    figure, grid = style.panels(down, across, width=3.7, height=3.7, subplot_kw={"projection": "3d"})
    texts = levels(panels)
    for axes, level in zip(grid.flat, panels, strict=False):
        heights = _parts.at(rows, panel, level).pivot(index=y, columns=x, values="value")
        every = max(1, -(-heights.shape[0] // _DRAWN)), max(1, -(-heights.shape[1] // _DRAWN))
        values = heights.to_numpy(float)[:: every[0], :: every[1]]
        one, two = np.meshgrid(heights.columns.to_numpy(float)[:: every[1]], heights.index.to_numpy(float)[:: every[0]])
        low, high = float(values.min()), float(values.max())
        floor = low - 0.45 * (high - low) if contours else low
        axes.plot_surface(
            one,
            two,
            values,
            cmap=style.SEQUENTIAL,
            rcount=values.shape[0],
            ccount=values.shape[1],
            linewidth=0.1,
            edgecolor=(1, 1, 1, 0.2),
            antialiased=True,
        )
        if contours:
            axes.contour(
                one, two, values, levels=contours, zdir="z", offset=floor, cmap=style.SEQUENTIAL, linewidths=0.9
            )
        axes.set_zlim(floor, high)
        axes.view_init(elev=elevation, azim=azimuth)
        axes.set_box_aspect((4, 4, 3.3), zoom=1.08)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1, 1, 1, 0))
            axis.set_tick_params(pad=0, labelsize=8)
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axis._axinfo["grid"].update(color="#D5DAE0", linewidth=0.5)
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        axes.set_zticks([tick for tick in ticks if low <= tick <= high])
        axes.set_xlabel(name(x), labelpad=0)
        axes.set_ylabel(name(y), labelpad=0)
        axes.set_title(texts[level], pad=0)
    for axes in list(grid.flat)[len(panels) :]:
        figure.delaxes(axes)
    height = f"height: {_parts.axis_name(rows, metric)}"
    style.dress(figure, item.title, f"{height} · {notes.footer(rows, acknowledged)}")
    return figure
