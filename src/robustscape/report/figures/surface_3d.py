"""Loss surfaces over two directions, in perspective."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import name


@style.styled
def surface_3d(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str = "alpha",
    y: str = "beta",
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    share_z: bool = True,
    elevation: float = 28.0,
    azimuth: float = -58.0,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Height and colour are the value; a row of panels a metric.

    Args:
        rows: the item's CSV.
        item: its stanza.
        x: first coordinate.
        y: second coordinate.
        panel: factor of the panels.
        metrics: what to draw, one row of panels each; empty: the item's metrics.
        share_z: one height scale for the panels of a row, so that they can be compared.
        elevation: degrees above the plane from which one looks.
        azimuth: degrees around the vertical axis.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, x, y, panel)
    rows = rows[rows[x].notna() & rows[y].notna()]
    drawn = _parts.metrics(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_doubled(rows, item, x, y, panel)
    columns = _parts.distinct(rows, panel)
    figure, grid = style.panels(len(drawn), len(columns), height=3.7, subplot_kw={"projection": "3d"})
    for row, metric in enumerate(drawn):
        values = rows[rows["metric"] == metric]
        low, high = values["value"].min(), values["value"].max()
        for column, level in enumerate(columns):
            axes = grid[row, column]
            heights = _parts.at(values, panel, level).pivot(index=y, columns=x, values="value")
            across, down = np.meshgrid(heights.columns.to_numpy(float), heights.index.to_numpy(float))
            axes.plot_surface(
                across,
                down,
                heights.to_numpy(float),
                cmap=style.SEQUENTIAL,
                vmin=low if share_z else None,
                vmax=high if share_z else None,
                rcount=heights.shape[0],
                ccount=heights.shape[1],
                linewidth=0.2,
                edgecolor=(1, 1, 1, 0.25),
                antialiased=True,
            )
            if share_z:
                axes.set_zlim(low, high)
            axes.view_init(elev=elevation, azim=azimuth)
            axes.set_box_aspect((4, 4, 3.2), zoom=1.12)
            for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
                axis.set_pane_color((1, 1, 1, 0))
                axis.set_tick_params(pad=1, labelsize=8.5)
                axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
                axis._axinfo["grid"].update(color="#D5DAE0", linewidth=0.6)
            axes.set_xlabel(name(x))
            axes.set_ylabel(name(y))
            axes.set_title(_parts.panel_title(rows, panel, level))
    # Beside a rotated axis the name of the height does not fit.
    heights_are = f"height: {', '.join(_parts.axis_name(rows, metric) for metric in drawn)}"
    style.dress(figure, item.title, f"{heights_are} · {notes.footer(rows, acknowledged)}")
    return figure
