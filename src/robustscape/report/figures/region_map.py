"""Maps of a plane that is divided into named regions, with lines and the steps of simulated paths on them.

The rows say what is drawn, by the column ``layer``: "run", cells from ``x`` to ``x`` + ``dx`` in the row of the grid at
height ``y`` that have the ``label``; "line", a dashed line through its points; "steps", a path with a dot at each step.
"""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import ndimage

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name

#: Columns of the picture that is made of the runs.
_ACROSS = 900
#: Share of a panel that a piece of a region needs to have its name written on it.
_NAMED = 0.0012
_LINES = ("#D62728", "#E377C2", "#B8860B")
_HALO: list[Any] = [patheffects.withStroke(linewidth=2.4, foreground="white")]


@style.styled
def region_map(
    rows: pd.DataFrame,
    item: Item,
    *,
    families: dict[str, list[str]],
    x_label: str = "x",
    y_label: str = "y",
    paths: str = "path",
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
        paths: what the paths are, for the legend.
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
    look = dict(zip(lines, (_LINES[i % len(_LINES)] for i in range(len(lines))), strict=True))
    for axes, panel in zip(grid.flat, panels, strict=True):
        part = shown[shown["panel"] == panel]
        _draw_regions(axes, part[part["layer"] == "run"], tints, item)
        limits = axes.get_xlim(), axes.get_ylim()
        for label, own in part[part["layer"] == "line"].groupby("label", sort=False):
            axes.plot(own["x"], own["y"], color=look[label], linewidth=1.8, linestyle=(0, (5, 3)), zorder=3)
        for _, own in part[part["layer"] == "steps"].groupby("label", sort=False):
            _draw_path(axes, own)
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])
        axes.grid(visible=False)
        axes.set(title=str(panel), xlabel=x_label, ylabel=y_label)
    handles: list[Any] = [
        Patch(color=tints[labels[0]], label=display_name(family, item.names)) for family, labels in families.items()
    ]
    handles += [
        Line2D([], [], color=colour, linestyle=(0, (5, 3)), label=display_name(str(label), item.names))
        for label, colour in look.items()
    ]
    if (shown["layer"] == "steps").any():
        handles.append(Line2D([], [], color=style.INK, marker="o", markersize=4, linewidth=1, label=paths))
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
    labels = list(tints)
    number = runs["label"].map({label: place for place, label in enumerate(labels)}).to_numpy()
    heights = np.sort(runs["y"].unique())
    left, right = float(runs["x"].min()), float((runs["x"] + runs["dx"]).max())
    half = (heights[1] - heights[0]) / 2
    edges = (right - left) / _ACROSS
    picture = np.full((len(heights), _ACROSS), -1)
    rows = np.searchsorted(heights, runs["y"].to_numpy())
    begin = np.round((runs["x"].to_numpy() - left) / edges).astype(int)
    end = np.round((runs["x"].to_numpy() + runs["dx"].to_numpy() - left) / edges).astype(int)
    for row, first, last, label in zip(rows, begin, end, number, strict=True):
        picture[row, first:last] = label
    extent = (left, right, float(heights[0] - half), float(heights[-1] + half))
    axes.imshow(
        np.ma.masked_less(picture, 0), cmap=ListedColormap([tints[label] for label in labels]), vmin=-0.5,
        vmax=len(labels) - 0.5, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
    )  # fmt: skip
    middles = left + (np.arange(_ACROSS) + 0.5) * edges
    for place, label in enumerate(labels):
        mask = picture == place
        if not mask.any():
            continue
        axes.contour(middles, heights, mask.astype(float), levels=[0.5], colors="white", linewidths=0.7)
        pieces, count = ndimage.label(ndimage.binary_erosion(mask, border_value=1))  # pieces may touch at corners
        for piece in range(1, count + 1):
            inside = pieces == piece
            if inside.mean() < _NAMED:
                continue
            depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=(inside.shape[1] / inside.shape[0], 1.0))
            deepest = np.unravel_index(int(depth[1:-1, 1:-1].argmax()), inside.shape)
            text = axes.text(
                float(middles[deepest[1]]), float(heights[deepest[0]]), display_name(label, item.names),
                ha="center", va="center", fontsize=10, color=style.INK, zorder=4,
            )  # fmt: skip
            text.set_path_effects(_HALO)


def _draw_path(axes: Axes, own: pd.DataFrame) -> None:
    """Draw a path with a dot at each step, a larger one where it starts."""
    axes.plot(own["x"], own["y"], color=style.INK, linewidth=0.9, marker="o", markersize=3.4, zorder=5, alpha=0.85)
    axes.plot(
        own["x"].iloc[:1], own["y"].iloc[:1], "o", color="white", markeredgecolor=style.INK, markersize=7, zorder=6
    )
