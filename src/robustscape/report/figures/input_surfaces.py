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
from robustscape.report.words import display_name, level_texts

#: Colours of right and wrong predictions.
_COLOURS = (style.OKABE_ITO[0], style.OKABE_ITO[1])


@style.styled
def input_surfaces(
    rows: pd.DataFrame,
    item: Item,
    *,
    panel: str = "image",
    share_z: bool = False,
    elevation: float = 30.0,
    azimuth: float = -122.0,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return the loss over x + a v1 + b v2 in perspective and, below it, from above with lines of equal loss.

    Args:
        rows: the item's CSV, with the metrics loss and misclassified over a and b.
        item: the item as the study describes it.
        panel: factor of the columns: the image, or the point in training.
        share_z: use one scale of heights for all panels.
        elevation: angle of view above the plane, in degrees.
        azimuth: angle of view around the vertical axis, in degrees.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, "a", "b", panel)
    points = rows[rows["a"].notna() & rows["b"].notna()]
    _parts.metrics_to_draw(points, item, ["loss", "misclassified"])
    columns = _parts.distinct_levels(points, panel)
    heights_of = points[points["metric"] == "loss"]
    highest = heights_of["value"].max()
    alone = len(columns) == 1  # then the two views stand side by side
    size = (9.2, 4.4) if alone else (max(7.2, 3.15 * len(columns) + 1.5), 6.9)
    figure = style.empty_figure(*size, pad=(0.05, 0.05))
    grid = figure.add_gridspec(1, 2) if alone else figure.add_gridspec(2, len(columns), height_ratios=[1.35, 1.0])
    for column, level in enumerate(columns):
        part = _parts.rows_at_level(points, panel, level)
        loss, wrong = (_grid(part, metric) for metric in ("loss", "misclassified"))
        above = figure.add_subplot(grid[0, column], projection="3d")
        _perspective(above, loss, wrong > 0.5, elevation, azimuth)
        if share_z:
            above.set_zlim(0, highest)
        text = level_texts([level], item.names)[level]
        above.set_title(text if isinstance(level, str) else f"{display_name(panel, item.names)} {text}", pad=0)
        below = figure.add_subplot(grid[0, 1] if alone else grid[1, column])
        _map(below, loss, wrong)
        below.set_xlabel("a (along v₁)")
        if column == 0:
            below.set_ylabel("b (along v₂)")
    handles = [Patch(color=colour, label=text) for colour, text in zip(_COLOURS, ("right", "wrong"), strict=True)]
    height = f" · height and lines: {_parts.axis_label(rows, 'loss', names=item.names)}"
    return _parts.finish_figure(figure, item, points, acknowledged, handles=handles, said=height)


def _grid(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return rows[rows["metric"] == metric].pivot(index="b", columns="a", values="value")


def _perspective(axes: Any, loss: pd.DataFrame, wrong: pd.DataFrame, elevation: float, azimuth: float) -> None:
    """Draw the loss in perspective, coloured by right and wrong predictions."""
    faces = np.array([to_rgba(colour) for colour in _COLOURS])[wrong.to_numpy(int)]
    look = {"linewidth": 0.2, "edgecolor": (1, 1, 1, 0.35), "antialiased": True, "shade": True}
    _parts.draw_surface(axes, loss, facecolors=faces, **look)
    style.perspective(axes, elevation, azimuth)
    axes.set_box_aspect((4, 4, 3), zoom=1.0)
    axes.set_xlabel("a", labelpad=-2)
    axes.set_ylabel("b", labelpad=-2)


def _map(axes: Any, loss: pd.DataFrame, wrong: pd.DataFrame) -> None:
    """Draw the plane from above: right and wrong predictions, lines of equal loss, and the marks x and x + v1."""
    pale = ListedColormap([(*to_rgba(colour)[:3], 0.45) for colour in _COLOURS])
    x, y = loss.columns.to_numpy(float), loss.index.to_numpy(float)
    axes.pcolormesh(x, y, wrong.to_numpy(float) > 0.5, cmap=pale, vmin=0, vmax=1, shading="nearest")
    if float(loss.to_numpy().max()) > float(loss.to_numpy().min()):
        axes.contour(x, y, loss.to_numpy(float), levels=7, colors=style.INK, linewidths=0.6, alpha=0.7)
    axes.plot([0, 1], [0, 0], "o", color=style.INK, markersize=5, clip_on=False)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
