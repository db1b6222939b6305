"""One metric at a level of a factor against the same metric at its base level, a panel each: clean against perturbed accuracy."""

from __future__ import annotations

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name, level_texts


@style.styled
def severity_scatter(
    rows: pd.DataFrame, item: Item, *, panel: str, base: str, hue: str, marks: str, metric: str
) -> Figure:
    """Return a panel for each level of ``panel`` but ``base``, which is on the vertical axis of all.

    Points of one level of ``hue`` have one colour and are joined by a dashed line; ``marks`` tells them apart. Printed numbers
    are open marks of the same form.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        panel: factor of the panels.
        base: its level on the vertical axis.
        hue: factor of the colours.
        marks: factor of the marks.
        metric: what is drawn.

    Raises:
        ConfigError: a column or the base level is missing, or two values are at one place.
    """
    _parts.require_columns(rows, item, panel, hue, marks)
    rows = rows[rows["metric"] == metric]
    _parts.refuse_duplicates(rows, item, panel, hue, marks)
    vertical = _parts.rows_at_level(rows, panel, base)
    if vertical.empty:
        raise ConfigError(f"figure '{item.title}': no row of {metric} has {panel} = {base}.")
    levels = [level for level in _parts.distinct_levels(rows, panel) if level != base]
    colour = style.palette(_parts.distinct_levels(rows, hue), item)
    marker = dict(zip(_parts.distinct_levels(rows, marks), style.MARKERS, strict=False))
    both = rows[rows[panel] != base].merge(vertical, on=[hue, marks], suffixes=("", "_up"))
    placed = pd.concat(
        [
            both[[panel, hue, marks]].assign(x=both[value], y=both[f"{value}_up"], made=made).dropna(subset=["x", "y"])
            for made, value in (("printed", "paper_value"), ("ours", "value"))
        ],
        ignore_index=True,
    )
    looks = {
        **dict.fromkeys(("color", "edgecolor"), colour),
        "marker": marker,
        "linestyle": {"printed": (0, (1, 2)), "ours": (0, (4, 2))},
        "alpha": {"printed": 0.5, "ours": 0.9},
    }
    printed = so.Dot(pointsize=6.5, color="white", edgewidth=1, artist_kws={"zorder": 2.5})
    ours = so.Dot(pointsize=8, edgecolor="white", edgewidth=1, artist_kws={"zorder": 3})
    y_printed, y_ours = (placed["y"].where(placed["made"] == made) for made in ("printed", "ours"))
    plotted = (
        _facets.plot_of(placed, x="x", y="y", color=hue)
        .add(so.Path(linewidth=1.0), linestyle="made", alpha="made", legend=False)
        .add(printed, y=y_printed, color=None, edgecolor=hue, marker=marks, legend=False)
        .add(ours, y=y_ours, marker=marks, legend=False)
        .scale(**{name: _facets.scale_of(look) for name, look in looks.items()})
    )
    figure, grid = _facets.draw_facets(plotted, (panel, levels), share_x=False, share_y=True, width=3.7, height=3.9)
    quantity = _parts.axis_label(rows, metric, names=item.names)
    for axes, text in zip(grid[0], level_texts(levels, item.names).values(), strict=True):
        axes.set(xlabel=quantity, title=text)
    grid[0, 0].set_ylabel(f"{display_name(base, item.names)}: {quantity}")
    black = dict.fromkeys(marker, style.INK)
    handles = _facets.legend_entries(
        black, level_texts(marker, item.names), marker=marker, linestyle="none", markersize=6
    )
    stood_in = {group: _parts.panel_title(rows, hue, group, names=item.names).replace("\n", " ") for group in colour}
    handles += _facets.legend_entries(colour, stood_in, linestyle=(0, (4, 2)), linewidth=1.9)
    if rows["paper_value"].notna().any():
        look = {**_parts.printed_marker(style.INK), "markeredgewidth": 1.0, "marker": "o"}
        handles.append(Line2D([], [], linestyle="none", **look, label="open: printed in the paper"))
    return _parts.finish_figure(figure, item, rows, handles)
