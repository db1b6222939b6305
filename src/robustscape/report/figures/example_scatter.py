"""Two quantities of each example against each other, a third as colour, with histograms of the first two."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _parts


@style.styled
def example_scatter(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    y: str,
    colour: str,
    panel: str | None = None,
) -> Figure:
    """Return one dot per example; each of the four quadrants is labelled with the percentage of the examples in it.

    Args:
        rows: the item's CSV; rows with a number in the column ``index`` are examples.
        item: the item as the study describes it.
        x: metric on the horizontal axis.
        y: metric on the vertical axis.
        colour: metric of the colour, on a logarithmic scale.
        panel: factor of the panels.
    """
    _parts.require_columns(rows, item, "index", panel)
    examples = rows[rows["index"].notna()]
    _parts.metrics_to_draw(examples, item, [x, y, colour])
    columns = _parts.distinct_levels(examples, panel)
    shades = examples.loc[examples["metric"] == colour, "value"].clip(lower=1e-4)
    scale = ScalarMappable(LogNorm(shades.quantile(0.02), shades.quantile(0.98)), style.SEQUENTIAL)
    figure = style.empty_figure(4.1 * len(columns) + 1.3, 4.9, pad=(0.06, 0.05))
    ratios = {"width_ratios": [4, 0.9] * len(columns), "height_ratios": [0.9, 4]}
    grid = figure.subplots(2, 2 * len(columns), squeeze=False, gridspec_kw=ratios)
    for column, level in enumerate(columns):
        part = _parts.rows_at_level(examples, panel, level)
        dots = part[part["metric"].isin([x, y, colour])].pivot(index="index", columns="metric", values="value")
        top, corner, middle, side = grid[:, 2 * column : 2 * column + 2].flat
        corner.set_axis_off()
        dots = dots.sort_values(colour)
        shade = scale.to_rgba(dots[colour].clip(lower=1e-4))
        sns.scatterplot(dots, x=x, y=y, s=11, c=shade, linewidth=0, rasterized=True, ax=middle)
        middle.axhline(0, color=style.GREY, linewidth=0.9)
        middle.axvline(0, color=style.GREY, linewidth=0.9)
        middle.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
        for right, above in itertools.product((0, 1), (0, 1)):
            count = (((dots[x] > 0) == right) & ((dots[y] > 0) == above)).mean() * 100
            middle.text(
                0.02 + 0.96 * right, 0.02 + 0.96 * above, f"{count:.1f} %", transform=middle.transAxes, fontsize=9.5,
                ha=("left", "right")[right], va=("bottom", "top")[above], fontweight="bold",
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        for axes, along in ((top, {"x": x}), (side, {"y": y})):
            sns.histplot(dots, **along, bins=list(np.linspace(-1, 1, 41)), alpha=0.6, linewidth=0, ax=axes)
            axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
            axes.spines[:].set_visible(False)
        top.set_xlim(middle.get_xlim())
        side.set_ylim(middle.get_ylim())
        top.set_title(_parts.panel_title(examples, panel, level, names=item.names))
        middle.set_xlabel(_parts.axis_label(rows, x, names=item.names))
        middle.set_ylabel(_parts.axis_label(rows, y, names=item.names) if column == 0 else "")
    label = _parts.axis_label(rows, colour, names=item.names)
    _parts.draw_colour_bar(figure, scale, list(grid.flat), label, shrink=0.85, pad=0.01, extend="both")
    return _parts.finish_figure(figure, item, rows)
