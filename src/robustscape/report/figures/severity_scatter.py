"""One metric at a level of a factor against the same metric at its base level, a panel each: clean against perturbed accuracy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import axis_quantity, display_name, level_texts


@style.styled
def severity_scatter(
    rows: pd.DataFrame,
    item: Item,
    *,
    panel: str,
    base: str,
    hue: str,
    marks: str,
    metric: str,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
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
        acknowledged: known flags, which the footer does not list.

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
    groups, kinds = _parts.distinct_levels(rows, hue), _parts.distinct_levels(rows, marks)
    colour = dict(zip(groups, style.colours(groups, item.colours), strict=True))
    marker = dict(zip(kinds, style.MARKERS, strict=False))
    figure, grid = style.panel_figure(1, len(levels), width=3.7, height=3.9, sharey=True)
    words = level_texts(levels, item.names)
    unit = str(rows["unit"].iloc[0])
    for axes, level in zip(grid[0], levels, strict=True):
        across = _parts.rows_at_level(rows, panel, level)
        for group in groups:
            of_group = (_parts.rows_at_level(part, hue, group).set_index(marks) for part in (across, vertical))
            _draw_group(axes, *of_group, colour=colour[group], marker=marker)
        axes.set_xlabel(axis_quantity(metric, unit, item.names))
        axes.set_title(words[level])
    grid[0, 0].set_ylabel(f"{display_name(base, item.names)}: {axis_quantity(metric, unit, item.names)}")
    handles = [
        Line2D([], [], linestyle="none", marker=marker[kind], color=style.INK, label=text)
        for kind, text in level_texts(kinds, item.names).items()
    ]
    stood_in = {group: _parts.panel_title(rows, hue, group, names=item.names) for group in groups}
    handles += [
        Line2D([], [], color=colour[group], linestyle=(0, (4, 2)), label=text.replace("\n", " "))
        for group, text in stood_in.items()
    ]
    if rows["paper_value"].notna().any():
        printed = {"markerfacecolor": "white", "markeredgecolor": style.INK}
        handles.append(Line2D([], [], linestyle="none", marker="o", **printed, label="open: printed in the paper"))  # type: ignore[arg-type]
    style.legend(figure, handles)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure


def _draw_group(
    axes: Axes, across: pd.DataFrame, up: pd.DataFrame, *, colour: object, marker: dict[object, str]
) -> None:
    """Draw the points of one level of the hue; both frames are by level of the marks."""
    for column in ("paper_value", "value"):
        points = pd.DataFrame({"x": across[column], "y": up[column]}).dropna()
        if points.empty:
            continue
        ours = column == "value"
        axes.plot(
            points["x"], points["y"], color=colour, linestyle=(0, (4, 2)) if ours else (0, (1, 2)), linewidth=1.0,
            alpha=0.9 if ours else 0.5,
        )  # fmt: skip
        for kind, point in points.iterrows():
            face = colour if ours else "white"
            axes.plot(
                [point["x"]], [point["y"]], marker=marker[kind], color=colour, markerfacecolor=face,
                markeredgecolor="white" if ours else colour, markersize=8 if ours else 6.5, zorder=3 if ours else 2,
            )  # fmt: skip
