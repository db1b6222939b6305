"""Two quantities of each example against each other, a third as colour, with histograms of the first two."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.report import notes, style
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
    over: str = "index",
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return one dot per example; each of the four quadrants is labelled with the percentage of the examples in it.

    Args:
        rows: the item's CSV; rows with a number in the column ``over`` are examples.
        item: the item as the study describes it.
        x: metric on the horizontal axis.
        y: metric on the vertical axis.
        colour: metric of the colour, on a logarithmic scale.
        panel: factor of the panels.
        over: column that numbers the examples.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, over, panel)
    examples = rows[rows[over].notna()]
    _parts.metrics_to_draw(examples, item, [x, y, colour])
    columns = _parts.distinct_levels(examples, panel)
    shades = examples.loc[examples["metric"] == colour, "value"].clip(lower=1e-4)
    scale = ScalarMappable(LogNorm(shades.quantile(0.02), shades.quantile(0.98)), style.SEQUENTIAL)
    figure = Figure(figsize=(4.1 * len(columns) + 1.3, 4.9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05)  # type: ignore[union-attr, call-arg]
    ratios = [*([4, 0.9] * len(columns))]
    grid = figure.subplots(
        2, 2 * len(columns), squeeze=False, gridspec_kw={"width_ratios": ratios, "height_ratios": [0.9, 4]}
    )
    for column, level in enumerate(columns):
        part = _parts.rows_at_level(examples, panel, level)
        wide = part[part["metric"].isin([x, y, colour])].pivot(index=over, columns="metric", values="value")
        top, corner, middle, side = (grid[i, 2 * column + j] for i in (0, 1) for j in (0, 1))
        corner.set_axis_off()
        order = wide[colour].argsort()
        dots = wide.iloc[order]
        middle.scatter(
            dots[x],
            dots[y],
            s=11,
            c=dots[colour].clip(lower=1e-4),
            cmap=scale.cmap,
            norm=scale.norm,
            linewidths=0,
            rasterized=True,
        )
        middle.axhline(0, color=style.GREY, linewidth=0.9)
        middle.axvline(0, color=style.GREY, linewidth=0.9)
        middle.set_xlim(-1.05, 1.05)
        middle.set_ylim(-1.05, 1.05)
        for right in (False, True):
            for above in (False, True):
                count = (((wide[x] > 0) == right) & ((wide[y] > 0) == above)).mean() * 100
                place = (0.98 if right else 0.02, 0.98 if above else 0.02)
                middle.text(
                    *place,
                    f"{count:.1f} %",
                    transform=middle.transAxes,
                    ha="right" if right else "left",
                    va="top" if above else "bottom",
                    fontsize=9.5,
                    fontweight="bold",
                    bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.2},
                )
        edges = np.linspace(-1, 1, 41)
        top.hist(wide[x], edges, color=style.OKABE_ITO[0], alpha=0.6)
        side.hist(wide[y], edges, color=style.OKABE_ITO[0], alpha=0.6, orientation="horizontal")
        top.set_xlim(middle.get_xlim())
        side.set_ylim(middle.get_ylim())
        for axes in (top, side):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        top.set_title(_parts.panel_title(examples, panel, level, names=item.names))
        middle.set_xlabel(_parts.axis_label(rows, x, names=item.names))
        if column == 0:
            middle.set_ylabel(_parts.axis_label(rows, y, names=item.names))
    bar = figure.colorbar(scale, ax=list(grid.flat), shrink=0.85, pad=0.01, extend="both")
    bar.set_label(_parts.axis_label(rows, colour, names=item.names))
    bar.outline.set_visible(False)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure
