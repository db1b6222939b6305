"""Loss surfaces around inputs, coloured by whether the prediction is right, in perspective and from above."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts

#: Colours of right and wrong predictions.
_COLOURS = {"right": to_rgba(style.OKABE_ITO[0]), "wrong": to_rgba(style.OKABE_ITO[1])}


@style.styled
def input_surfaces(rows: pd.DataFrame, item: Item, *, panel: str = "image", share_z: bool = False) -> Figure:
    """Return the loss over x + a v1 + b v2 in perspective and, below it, from above with lines of equal loss.

    Args:
        rows: the item's CSV, with the metrics loss and misclassified over a and b.
        item: the item as the study describes it.
        panel: factor of the columns: the image, or the point in training.
        share_z: use one scale of heights for all panels.
    """
    _parts.require_columns(rows, item, "a", "b", panel)
    points = rows[rows["a"].notna() & rows["b"].notna()]
    _parts.metrics_to_draw(points, item, ["loss", "misclassified"])
    columns = _parts.distinct_levels(points, panel)
    alone = len(columns) == 1  # then the two views stand side by side
    size = (9.2, 4.4) if alone else (max(7.2, 3.15 * len(columns) + 1.5), 6.9)
    figure = style.empty_figure(*size, pad=(0.05, 0.05))
    grid = figure.add_gridspec(1, 2) if alone else figure.add_gridspec(2, len(columns), height_ratios=[1.35, 1.0])
    for column, level in enumerate(columns):
        part = _parts.rows_at_level(points, panel, level).pivot(index="b", columns=["metric", "a"], values="value")
        loss, wrong = part["loss"], part["misclassified"].to_numpy(float) > 0.5
        above = figure.add_subplot(grid[0, column], projection="3d")
        look = {"linewidth": 0.2, "edgecolor": (1, 1, 1, 0.35), "antialiased": True, "shade": True}
        _parts.draw_surface(above, loss, facecolors=np.array(list(_COLOURS.values()))[wrong.astype(int)], **look)
        style.perspective(above, elevation=30, azimuth=-122)
        above.set_box_aspect((4, 4, 3), zoom=1.0)
        above.set_xlabel("a", labelpad=-2)
        above.set_ylabel("b", labelpad=-2)
        if share_z:
            above.set_zlim(0, points.loc[points["metric"] == "loss", "value"].max())
        above.set_title(_parts.panel_title(rows, panel, level, names=item.names), pad=0)
        below = figure.add_subplot(grid[0, 1] if alone else grid[1, column])
        _draw_from_above(below, loss, wrong)
        below.set(xlabel="a (along v₁)", ylabel="b (along v₂)" if column == 0 else "")
    handles = [Patch(color=colour, label=text) for text, colour in _COLOURS.items()]
    height = f" · height and lines: {_parts.axis_label(rows, 'loss', names=item.names)}"
    return _parts.finish_figure(figure, item, points, handles, said=height)


def _draw_from_above(axes: Any, loss: pd.DataFrame, wrong: np.ndarray) -> None:
    """Draw the plane from above: right and wrong predictions, lines of equal loss, and the marks x and x + v1."""
    places, heights = (loss.columns.to_numpy(float), loss.index.to_numpy(float)), loss.to_numpy(float)
    pale = ListedColormap([(*colour[:3], 0.45) for colour in _COLOURS.values()])
    axes.pcolormesh(*places, wrong, cmap=pale, vmin=0, vmax=1, shading="nearest")
    if heights.max() > heights.min():
        axes.contour(*places, heights, levels=7, colors=style.INK, linewidths=0.6, alpha=0.7)
    axes.plot([0, 1], [0, 0], "o", color=style.INK, markersize=5, clip_on=False)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
