"""Measured points joined by lines, with the printed points beside them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import axis_quantity, display_name, level_texts


@style.styled
def lines_with_printed(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str = "eps",
    hue: str = "metric",
    panel: str | None = None,
    metrics: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    log_y: bool = False,
    mark: str | None = None,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return our points as filled marks with error bars, and the printed ones as open diamonds on dotted lines.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        hue: factor of the lines, or ``metric`` to put metrics of one unit into one panel.
        panel: factor of the columns of panels.
        metrics: metrics to draw; empty: the item's metrics. There is one row of panels per unit.
        log_y: use logarithmic vertical axes.
        mark: metric whose single value is a place on the horizontal axis: a dashed line in every panel, as in kim2023 figure
            2.2.
        acknowledged: known flags, which the footer does not list.
    """
    _parts.require_columns(rows, item, x, hue, panel)
    marked = rows.loc[rows["metric"] == mark, "value"].dropna()
    if len(marked) > 1:
        raise ConfigError(f"figure '{item.title}': mark: '{mark}' has {len(marked)} values, where one place is marked.")
    rows = rows[rows[x].notna()]
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    _parts.refuse_duplicates(rows, item, x, hue, panel)
    columns = _parts.distinct_levels(rows, panel)
    lines = drawn if hue == "metric" else _parts.distinct_levels(rows, hue)
    colour = dict(zip(lines, style.colours(lines, item.colours), strict=True))
    marks = style.MARKERS if rows[x].nunique() <= 20 else (None,)
    marker = {line: marks[i % len(marks)] for i, line in enumerate(lines)}
    bands = _by_unit(rows, drawn) if hue == "metric" else [[metric] for metric in drawn]

    figure, grid = _parts.panel_grid(len(bands), len(columns), "row")
    for row, together in enumerate(bands):
        for column, level in enumerate(columns):
            axes = grid[row, column]
            part = _parts.rows_at_level(rows[rows["metric"].isin(together)], panel, level)
            for line in together if hue == "metric" else lines:
                own = _parts.rows_at_level(part, hue, line).sort_values(x)
                ours, printed = own[own["n"] > 0], own.dropna(subset=["paper_value"])
                axes.plot(printed[x], printed["paper_value"], ":", color=colour[line], linewidth=1.2, alpha=0.8)
                axes.errorbar(
                    ours[x],
                    ours["value"],
                    _parts.error_bar_lengths(ours["std"]),
                    color=colour[line],
                    marker=marker[line],
                    capsize=2.5,
                )
                axes.plot(printed[x], printed["paper_value"], "D", **_parts.printed_marker(colour[line]))
            for place in marked:
                axes.axvline(place, color=style.INK, linestyle=(0, (4, 2)), linewidth=1.2)
            if _parts.is_blank(part):
                _parts.mark_blank(axes, part)
            if log_y:
                _parts.set_log_y(axes)
            if axes.get_subplotspec().is_first_row():
                axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
            if not part.empty:
                _parts.set_level_ticks(axes, list(part[x]), x, names=item.names)
            if not axes.get_subplotspec().is_last_row():
                axes.set_xlabel("")
            if column == 0:
                axes.set_ylabel(_axis(rows, together, names=item.names))
    texts = {m: display_name(m, item.names) for m in drawn} if hue == "metric" else level_texts(lines, item.names)
    handles = [Line2D([], [], color=colour[line], marker=marker[line], label=texts[line]) for line in lines]
    if rows["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())
    if mark is not None and len(marked):
        handles.append(
            Line2D([], [], color=style.INK, linestyle=(0, (4, 2)), linewidth=1.2, label=display_name(mark, item.names))
        )
    style.legend(figure, handles, None if hue == "metric" else display_name(hue, item.names))
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure


def _by_unit(rows: pd.DataFrame, metrics: list[str]) -> list[list[str]]:
    unit = rows.drop_duplicates("metric").set_index("metric")["unit"].fillna("")
    return [[m for m in metrics if unit[m] == u] for u in dict.fromkeys(unit[m] for m in metrics)]


def _axis(rows: pd.DataFrame, metrics: list[str], *, names: Mapping[str, str]) -> str:
    """Return the axis label: the metric's name, or the last word that several metrics share, with the unit."""
    if len(metrics) == 1:
        return _parts.axis_label(rows, metrics[0], names=names)
    last = {metric.split("_")[-1] for metric in metrics}
    unit = str(rows.loc[rows["metric"] == metrics[0], "unit"].iloc[0])
    return axis_quantity(last.pop() if len(last) == 1 else "value", unit, names)
