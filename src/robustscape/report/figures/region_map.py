"""Maps of a plane that is divided into named regions, with lines and the steps of simulated paths on them.

The rows say what is drawn, by the column ``layer``: "run", cells from ``x`` to ``x`` + ``dx`` in the row of the grid at
height ``y`` that have the ``label``; "line", a dashed line through its points; "steps", a path with a dot at each step.
"""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import ndimage

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _layers, _parts
from robustscape.report.words import display_name

#: Columns of the picture that is made of the runs.
_ACROSS = 900
#: Share of a panel that a piece of a region needs to have its name written on it.
_NAMED = 0.0012
_LINES = ("#D62728", "#E377C2", "#B8860B")


@style.styled
def region_map(
    rows: pd.DataFrame,
    item: Item,
    *,
    families: dict[str, list[str]],
    x_label: str = "x",
    y_label: str = "y",
    width: float = 5.2,
    height: float = 5.0,
) -> Figure:
    """Return a panel for each partition; regions of a family have tints of one colour, and every piece its name on it.

    Args:
        rows: the item's CSV; columns panel, layer, label, point, x, y, dx.
        item: the item as the study describes it.
        families: what regions have in common -> their labels.
        x_label: name of the horizontal axis.
        y_label: name of the vertical axis.
        width: of a panel in inches.
        height: of a panel in inches.

    Raises:
        ConfigError: a column is missing, or a label is in no family or in two.
    """
    _parts.require_columns(rows, item, "panel", "layer", "label", "point", "x", "y", "dx")
    shown = rows[rows["layer"].notna() & (rows["n"] > 0)].sort_values("point", kind="stable")
    known = [label for labels in families.values() for label in labels]
    strange = sorted(set(shown.loc[shown["layer"] == "run", "label"]) - set(known))
    if strange or len(known) != len(set(known)):
        raise ConfigError(f"figure '{item.title}': every label needs one family; not so: {strange or sorted(known)}.")
    tints = _tints(families, item)
    panels = list(dict.fromkeys(shown["panel"]))
    figure, grid = style.panel_figure(1, len(panels), width=width, height=height)
    lines = list(dict.fromkeys(shown.loc[shown["layer"] == "line", "label"]))
    look = dict(zip(lines, itertools.cycle(_LINES)))
    for axes, panel in zip(grid.flat, panels, strict=True):
        part = shown[shown["panel"] == panel]
        _draw_regions(axes, part[part["layer"] == "run"], tints, item)
        limits = axes.get_xlim(), axes.get_ylim()
        for label, own in part[part["layer"] == "line"].groupby("label", sort=False):
            axes.plot(own["x"], own["y"], color=look[label], linewidth=1.8, linestyle=(0, (5, 3)), zorder=3)
        for _, own in part[part["layer"] == "steps"].groupby("label", sort=False):
            axes.plot(
                own["x"], own["y"], marker="o", markersize=3.4, linewidth=0.9, color=style.INK, zorder=5, alpha=0.85
            )
            start = {"color": "white", "markeredgecolor": style.INK, "markersize": 7, "zorder": 6}
            axes.plot(own["x"].iloc[:1], own["y"].iloc[:1], "o", **start)
        axes.grid(visible=False)
        axes.set(xlim=limits[0], ylim=limits[1], title=str(panel), xlabel=x_label, ylabel=y_label)
    handles: list[Any] = [
        Patch(color=tints[labels[0]], label=display_name(family, item.names)) for family, labels in families.items()
    ]
    handles += [
        Line2D([], [], color=colour, linestyle=(0, (5, 3)), label=display_name(str(label), item.names))
        for label, colour in look.items()
    ]
    if (shown["layer"] == "steps").any():
        words = display_name("steps", item.names)
        handles.append(Line2D([], [], color=style.INK, marker="o", markersize=4, linewidth=1, label=words))
    return _parts.finish_figure(figure, item, rows, handles)


def _tints(families: dict[str, list[str]], item: Item) -> dict[str, Any]:
    """Return label -> colour: a hue for each family, lighter from one of its labels to the next."""
    tints = {}
    for family, base in zip(families, style.colours(list(families), item.colours), strict=True):
        hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(base))
        for place, label in enumerate(families[family]):
            share = place / max(1, len(families[family]) - 1)
            tints[label] = colorsys.hls_to_rgb(hue, 0.68 + 0.22 * share, 0.75 * saturation)
    return tints


def _draw_regions(axes: Axes, runs: pd.DataFrame, tints: dict[str, Any], item: Item) -> None:
    """Draw the regions as a picture of coloured cells, with white borders and a name on every large piece."""
    labels, heights = list(tints), np.sort(runs["y"].unique())
    left, right = float(runs["x"].min()), float((runs["x"] + runs["dx"]).max())
    middles = left + (np.arange(_ACROSS) + 0.5) * (right - left) / _ACROSS
    picture = np.full((len(heights), _ACROSS), -1)
    for x, dx, y, label in runs[["x", "dx", "y", "label"]].itertuples(index=False):
        picture[np.searchsorted(heights, y), (middles > x) & (middles < x + dx)] = labels.index(label)
    half = (heights[1] - heights[0]) / 2
    axes.imshow(
        np.ma.masked_less(picture, 0), cmap=ListedColormap([tints[label] for label in labels]), vmin=-0.5,
        vmax=len(labels) - 0.5, origin="lower", extent=(left, right, heights[0] - half, heights[-1] + half), aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for place, label in enumerate(labels):
        mask = picture == place
        if mask.any():
            axes.contour(middles, heights, mask.astype(float), levels=[0.5], colors="white", linewidths=0.7)
        for x, y in _middles_of_pieces(mask):
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10, "color": style.INK, "zorder": 4}
            text = axes.text(middles[x], heights[y], display_name(label, item.names), **look)
            text.set_path_effects(_layers.halo(2.4))


def _middles_of_pieces(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield column and row of the cell farthest from the border of each large connected piece of a mask."""
    pieces, count = ndimage.label(ndimage.binary_erosion(mask, border_value=1))  # pieces may touch at corners
    for piece in range(1, count + 1):
        inside = pieces == piece
        if inside.mean() >= _NAMED:
            depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=(mask.shape[1] / mask.shape[0], 1.0))
            row, column = np.unravel_index(int(depth[1:-1, 1:-1].argmax()), mask.shape)
            yield int(column), int(row)
