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

#: Where the input, the parts, their products and the output stand, and half a box's width and height.
_INPUT, _PART, _PRODUCT, _OUTPUT = 0.0, 1.6, 3.4, 5.0
_WIDE, _HIGH = 0.65, 0.3
#: The part whose outputs weight the others, in their order, and the network itself.
_ROOT, _WHOLE = "MC", "F"


@style.styled
def network_tree(rows: pd.DataFrame, item: Item) -> Figure:
    """Return the input, a box for each part with its number of outputs, their products, and the distribution of all.

    Args:
        rows: the item's CSV: a row of ``outputs`` for each ``part``, with the ``title`` of what it classifies; the outputs of the
            part MC weight the others, and F is the whole.
        item: the item as the study describes it.
    """
    _parts.require_columns(rows, item, "part", "title")
    boxes = rows[rows["metric"] == "outputs"].set_index("part")
    leaves = [str(name) for name in boxes.index if name not in (_ROOT, _WHOLE)]
    figure, ((axes,),) = style.panel_figure(1, 1, width=7.0, height=max(3.0, 0.75 * (len(leaves) + 1)))
    axes.set_axis_off()
    heights = {name: len(leaves) - float(place) for place, name in enumerate([_ROOT, *leaves])}
    middle = (len(leaves) - 1) / 2
    root_colour, leaf_colour = style.colours([_ROOT, "leaf"], item.colours)
    words = {name: re.sub(r"_(\d+)$", r"$_{\1}$", name) for name in heights}  # LC_1 with its number as an index
    _box(axes, _INPUT, middle, "x", "white", half=0.25)
    for name, height in heights.items():
        text = f"{words[name]}: {boxes.at[name, 'title']}\n{boxes.at[name, 'value']:.0f} outputs"
        _box(axes, _PART, height, text, root_colour if name == _ROOT else leaf_colour)
        _arrow(axes, (_INPUT + 0.28, middle), (_PART, height))
    for number, name in enumerate(leaves, 1):
        height = heights[name]
        _box(axes, _PRODUCT, height, f"{_ROOT}(x)$_{{{number}}}$ · {words[name]}(x)", "white")
        for begin in (height, heights[_ROOT]):
            _arrow(axes, (_PART + _WIDE + 0.03, begin), (_PRODUCT, height))
        _arrow(axes, (_PRODUCT + _WIDE + 0.03, height), (_OUTPUT, middle))
    whole = boxes.loc[_WHOLE]
    _box(axes, _OUTPUT, middle, f"{_WHOLE}(x)\n{whole['value']:.0f} {whole['title']}", "white")
    axes.set(xlim=(-0.6, 5.7), ylim=(-0.7, len(leaves) + 0.7))
    return _parts.finish_figure(figure, item, boxes.reset_index())


def _box(axes: Axes, x: float, y: float, text: str, colour: str, half: float = _WIDE) -> None:
    """Draw a box around a text, centred on a point."""
    look: dict[str, Any] = (
        {"alpha": 1.0, "edgecolor": "0.5"} if colour == "white" else {"alpha": 0.25, "edgecolor": "none"}
    )
    corner, size = (x - half, y - _HIGH), (2 * half, 2 * _HIGH)
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.03", facecolor=colour, zorder=2, **look))
    axes.text(x, y, text, ha="center", va="center", fontsize=8, zorder=3)


def _arrow(axes: Axes, begin: tuple[float, float], box: tuple[float, float]) -> None:
    """Draw an arrow to the left side of a box, behind it."""
    look = {"arrowstyle": "->", "color": "0.5", "linewidth": 0.8}
    axes.annotate("", (box[0] - _WIDE - 0.03, box[1]), begin, arrowprops=look, zorder=1)
