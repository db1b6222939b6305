"""A network of one classifier over others, drawn as boxes: ma2025 figure 5.1."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts

_PLACES = {"input": 0.0, "part": 1.6, "product": 3.4, "output": 5.0}


@style.styled
def network_tree(
    rows: pd.DataFrame,
    item: Item,
    *,
    metric: str = "outputs",
    part: str = "part",
    title: str = "title",
    root: str = "MC",
    whole: str = "F",
) -> Figure:
    """Return the input, a box for each part with its number of outputs, their products, and the distribution of all.

    Args:
        rows: the item's CSV: a row of ``metric`` for each part, for the root, and for the whole network.
        item: the item as the study describes it.
        metric: the number of outputs of a part.
        part: column of the parts' names.
        title: column of what they classify.
        root: name of the part whose outputs weight the others, in their order.
        whole: name of the network itself.
    """
    _parts.require_columns(rows, item, part, title)
    boxes = rows[rows["metric"] == metric]
    outputs = {str(row[part]): int(row["value"]) for _, row in boxes.iterrows()}
    titles = {str(row[part]): str(row[title]) for _, row in boxes.iterrows()}
    leaves = [name for name in outputs if name not in (root, whole)]
    figure, grid = style.panel_figure(1, 1, width=7.0, height=max(3.0, 0.75 * (len(leaves) + 1)))
    axes = grid[0, 0]
    axes.set_axis_off()
    heights = {root: len(leaves) + 0.0, **{name: len(leaves) - 1.0 - place for place, name in enumerate(leaves)}}
    middle = (len(leaves) - 1) / 2
    colours = style.colours([root, "leaf"], item.colours)
    _box(axes, _PLACES["input"], middle, "x", "white")
    words = {name: re.sub(r"_(\d+)$", r"$_{\1}$", name) for name in heights}  # LC_1 with its number as an index
    for name, height in heights.items():
        text = f"{words[name]}: {titles[name]}\n{outputs[name]} outputs"
        _box(axes, _PLACES["part"], height, text, colours[0] if name == root else colours[1])
        _arrow(axes, _PLACES["input"], middle, _PLACES["part"], height)
    for number, name in enumerate(leaves, 1):
        _box(axes, _PLACES["product"], heights[name], f"{root}(x)$_{{{number}}}$ · {words[name]}(x)", "white")
        _arrow(axes, _PLACES["part"], heights[name], _PLACES["product"], heights[name])
        _arrow(axes, _PLACES["part"], heights[root], _PLACES["product"], heights[name])
        _arrow(axes, _PLACES["product"], heights[name], _PLACES["output"], middle)
    _box(axes, _PLACES["output"], middle, f"{whole}(x)\n{outputs[whole]} {titles[whole]}", "white")
    axes.set_xlim(-0.6, 5.7)
    axes.set_ylim(-0.7, len(leaves) + 0.7)
    return _parts.finish_figure(figure, item, boxes)


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Draw a box around a text, centred on a point."""
    width = 1.3 if "\n" in text or "·" in text else 0.5
    look: dict[str, Any] = (
        {"alpha": 1.0, "edgecolor": "0.5"} if colour == "white" else {"alpha": 0.25, "edgecolor": "none"}
    )
    corner = x - width / 2, y - 0.3
    shape = FancyBboxPatch(corner, width, 0.6, boxstyle="round,pad=0.03", facecolor=colour, zorder=2, **look)
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=8, zorder=3)


def _arrow(axes: Axes, x: float, y: float, to_x: float, to_y: float) -> None:
    """Draw an arrow between two boxes, behind them."""
    look = {"arrowstyle": "->", "color": "0.5", "linewidth": 0.8}
    begin = x + (0.28 if x == 0.0 else 0.68), y
    axes.annotate("", (to_x - 0.68, to_y), begin, arrowprops=look, zorder=1)
