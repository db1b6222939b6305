"""Loss surfaces over two directions side by side, in perspective, with lines of equal value on the floor."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name

#: Largest number of grid points drawn per side; finer grids are thinned, so that the vector file stays small.
_DRAWN = 61


@style.styled
def surface_3d(
    rows: pd.DataFrame,
    item: Item,
    *,
    metric: str,
    x: str = "alpha",
    y: str = "beta",
    panel: str,
    wrap: int = 3,
    share_z: bool = False,
) -> Figure:
    """Return surfaces whose height and colour are the value, with about twelve lines of equal value below each.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        metric: metric of the height.
        x: first coordinate.
        y: second coordinate.
        panel: factor of the panels.
        wrap: panels in a row.
        share_z: use one scale of heights, colours and lines for all panels, so that they can be compared.
    """
    _parts.require_columns(rows, item, x, y, panel)
    rows = rows[(rows["metric"] == metric) & rows[x].notna() & rows[y].notna()]
    _parts.refuse_duplicates(rows, item, x, y, panel)
    panels = _parts.distinct_levels(rows, panel)
    across = min(wrap, len(panels))
    down = -(-len(panels) // across)
    figure = style.room_for_panels(down, across, width=3.7, height=3.7)
    for number, level in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, number, projection="3d")
        heights = _parts.rows_at_level(rows, panel, level).pivot(index=y, columns=x, values="value")
        every = [max(1, -(-side // _DRAWN)) for side in heights.shape]
        heights = heights.iloc[:: every[0], :: every[1]]
        values = heights.to_numpy(float)
        scale = rows["value"] if share_z else values
        low, high = float(scale.min()), float(scale.max())
        floor = low - 0.45 * (high - low)
        colours = {"cmap": style.SEQUENTIAL, "vmin": low, "vmax": high}
        _parts.draw_surface(axes, heights, linewidth=0.1, edgecolor=(1, 1, 1, 0.2), antialiased=True, **colours)
        lines = MaxNLocator(13).tick_values(low, high)
        floor_of = {"zdir": "z", "offset": floor, "linewidths": 0.9}
        axes.contour(heights.columns, heights.index, values, levels=lines, **floor_of, **colours)
        axes.set_zlim(floor, high)
        style.perspective(axes)
        axes.set_box_aspect((4, 4, 3.3), zoom=1.08)
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        axes.set_zticks([tick for tick in ticks if low <= tick <= high])
        axes.set_xlabel(display_name(x, item.names), labelpad=0)
        axes.set_ylabel(display_name(y, item.names), labelpad=0)
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names), pad=0)
    # Beside a rotated axis the name of the height does not fit.
    height = f"height: {_parts.axis_label(rows, metric, names=item.names)} · "
    return _parts.finish_figure(figure, item, rows, first=height)
