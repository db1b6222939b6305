"""Parts shared by the figures: choice of rows, ticks at the levels of eps, panel titles, the mark of a printed number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.level_matching import same_level
from robustscape.report.style import GREY, INK
from robustscape.report.words import axis_quantity, display_name, is_number, level_texts


def require_columns(rows: pd.DataFrame, item: Item, *columns: str | None) -> None:
    """Raise ConfigError unless the rows have all these columns; None stands for an option that was not set."""
    unknown = [column for column in columns if column is not None and column not in rows]
    if unknown:
        raise ConfigError(f"figure '{item.title}': no column {unknown}. There are: {', '.join(rows.columns)}.")


def refuse_duplicates(rows: pd.DataFrame, item: Item, *columns: str | None) -> None:
    """Raise ConfigError if two values fall on one place of a line or bar: a factor that varies is on no axis."""
    used = ["metric", *(column for column in columns if column is not None)]
    doubled = rows[rows.duplicated(used, keep=False)]
    if not doubled.empty:
        differ = [f for f in [*item.factors, "stand_in"] if f not in used and doubled[f].nunique(dropna=False) > 1]
        raise ConfigError(f"figure '{item.title}': several values at one place; they differ in {', '.join(differ)}.")


def metrics_to_draw(rows: pd.DataFrame, item: Item, wanted: Sequence[str]) -> list[str]:
    """Return the metrics to draw, of those the rows have: ``wanted`` if any, else the item's, else all.

    Raises:
        ConfigError: none of them is in the rows.
    """
    found = list(dict.fromkeys(rows["metric"]))
    chosen = [m for m in (wanted or item.metrics or found) if m in found]
    if not chosen:
        raise ConfigError(
            f"figure '{item.title}': no row has a metric of {list(wanted)}. There are: {', '.join(found)}."
        )
    return chosen


def rows_to_draw(
    rows: pd.DataFrame, item: Item, x: str, *others: str | None, metrics: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the metrics to draw that have a level of ``x``, and these metrics.

    Raises:
        ConfigError: a column or every metric is missing, or two values fall on one place of ``x`` and ``others``.
    """
    require_columns(rows, item, x, *others)
    rows = rows[rows[x].notna()]
    drawn = metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn)]
    refuse_duplicates(rows, item, x, *others)
    return rows, drawn


def distinct_levels(rows: pd.DataFrame, column: str | None) -> list[Any]:
    """Return the levels of a column in the order of the CSV; ``[None]`` without a column."""
    return [None] if column is None else list(rows[column].dropna().drop_duplicates())


def rows_at_level(rows: pd.DataFrame, column: str | None, level: Any) -> pd.DataFrame:
    """Return the rows at a level of a column; all rows without a column."""
    return rows if column is None else rows[at_level(rows, column, level)]


def at_level(rows: pd.DataFrame, column: str, level: Any) -> pd.Series:
    """Return which rows are at a level of a column."""
    return rows[column].map({value: same_level(value, level) for value in rows[column].unique()}).astype(bool)


def rows_of_panel(rows: pd.DataFrame, item: Item, panel: Mapping[str, Any], keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a panel that is described by a mapping: of its ``metric``, where factors have the levels of ``where``.

    Raises:
        ConfigError: the panel has a key that is not in ``keys``, or an unknown metric or column.
    """
    if strange := set(panel) - set(keys):
        raise ConfigError(f"figure '{item.title}': a panel has keys {sorted(strange)}; allowed: {sorted(keys)}.")
    if panel.get("metric") not in set(rows["metric"]):
        known = ", ".join(dict.fromkeys(rows["metric"]))
        raise ConfigError(f"figure '{item.title}': a panel's metric is '{panel.get('metric')}'. There are: {known}.")
    require_columns(rows, item, *panel.get("where", {}))
    part = rows[rows["metric"] == panel["metric"]]
    for factor, wanted in panel.get("where", {}).items():
        part = rows_at_level(part, factor, wanted)
    return part


def draw_colour_bar(figure: Figure, colours: Any, beside: Any, label: str, **look: Any) -> None:
    """Draw the scale of colours beside axes, without a frame."""
    bar = figure.colorbar(colours, ax=beside, **look)
    bar.set_label(label)
    bar.outline.set_visible(False)


def axis_label(rows: pd.DataFrame, metric: str, *, names: Mapping[str, str]) -> str:
    """Return a metric's name with its unit, to label an axis."""
    units = rows.loc[rows["metric"] == metric, "unit"].dropna()
    return axis_quantity(metric, str(units.iloc[0]) if len(units) else "", names)


def shared_axis_label(rows: pd.DataFrame, metrics: Sequence[str], *, names: Mapping[str, str]) -> str:
    """Return the label of an axis: a metric's name, or the last word that several metrics of one unit share, with the unit."""
    if len(metrics) == 1:
        return axis_label(rows, metrics[0], names=names)
    last = {metric.split("_")[-1] for metric in metrics}
    unit = str(rows.loc[rows["metric"] == metrics[0], "unit"].iloc[0])
    return axis_quantity(last.pop() if len(last) == 1 else "value", unit, names)


def panel_title(rows: pd.DataFrame, column: str | None, level: Any, *, names: Mapping[str, str]) -> str:
    """Return a panel's title: its level, and the data set that stood in for it, if one did."""
    if column is None:
        return ""
    text = level_texts([level], names)[level]
    if is_number(level) or text.endswith("/255"):
        return f"{display_name(column, names)} = {text}"
    stood_in = notes.stand_ins(rows_at_level(rows, column, level), names=names) if column == "dataset" else []
    return f"{text}\n({stood_in[0].partition(' for ')[0]} stands in)" if stood_in else text


def panel_grid(down: int, across: int) -> tuple[Figure, Any]:
    """Return a figure and its axes (down, across) with axes shared by rows; two or three below each other stand side by side."""
    if across == 1 and down in (2, 3):
        figure, grid = style.panel_figure(1, down)
        return figure, grid.T
    return style.panel_figure(down, across, sharex="row", sharey="row")


def set_log_y(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5 if it spans less than two powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if low > 1e-3 and high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def set_level_ticks(axes: Axes, values: Sequence[float], column: str, *, names: Mapping[str, str]) -> None:
    """Put ticks at the levels if they are few and far apart (0, 4/255, 8/255), else at multiples of 1/255 or round numbers."""
    known = sorted({float(value) for value in values})
    span = known[-1] - known[0] if known else 0.0
    if 1 < len(known) <= 8 and span > 0 and min(np.diff(known)) >= 0.09 * span:
        texts = level_texts(known, names)
        axes.set_xticks(known, [texts[value] for value in known])
    elif any("/255" in text for text in level_texts(known, names).values()):
        step = next((s for s in (4, 8, 16, 32, 64) if span * 255 / s <= 6.5), 64)
        at_255 = np.arange(0, known[-1] * 255 + 0.5, step)
        axes.set_xticks(at_255 / 255, ["0" if k == 0 else f"{k:g}/255" for k in at_255])
    else:
        axes.xaxis.set_major_locator(
            MaxNLocator(5, steps=[1, 2, 3, 5, 10], integer=all(value % 1 == 0 for value in known))
        )
    axes.set_xlabel(display_name(column, names))


def draw_surface(axes: Any, heights: pd.DataFrame, **look: Any) -> None:
    """Draw a surface in perspective, each cell of it, over the numbers in the columns and the index of ``heights``."""
    places = np.meshgrid(heights.columns.to_numpy(float), heights.index.to_numpy(float))
    across, down = heights.shape[1], heights.shape[0]
    axes.plot_surface(*places, heights.to_numpy(float), rcount=down, ccount=across, **look)


def bin_edges(values: pd.Series, clip: float) -> np.ndarray:
    """Return the edges of 40 equal bins, (41,), that hold all values but a fraction ``clip`` at each end."""
    low, high = values.quantile([clip, 1 - clip])
    return np.linspace(low, high if high > low else low + 1, 41)


def draw_histograms(axes: Axes, rows: pd.DataFrame, hue: str, colour: Mapping[Any, Any], edges: np.ndarray) -> None:
    """Draw the percentage of values per bin for each level, those beyond the edges in the outermost bins; means are dashed."""
    inside = rows.assign(value=rows["value"].clip(edges[0], edges[-1]))
    sns.histplot(
        inside, x="value", hue=hue, hue_order=list(colour), palette=dict(colour), bins=list(edges), stat="percent",
        common_norm=False, element="step", alpha=0.35, linewidth=1.4, legend=False, ax=axes,
    )  # fmt: skip
    for level, mean in rows.groupby(hue)["value"].mean().items():
        axes.axvline(mean, color=style.darker(colour[level], 0.75), linewidth=1.8, linestyle=(0, (4, 1.5)))


def finish_figure(
    figure: Figure,
    item: Item,
    rows: pd.DataFrame,
    handles: Sequence[Any] = (),
    *,
    legend: str | None = None,
    first: str = "",
    said: str = "",
    spread: str = "standard deviation",
) -> Figure:
    """Return the figure with its legend, named by the factor ``legend``, its title and its footer.

    The footer speaks of the rows drawn and of what bands and bars are (``spread``), after ``first`` and before ``said``.
    """
    if handles:
        style.legend(figure, handles, display_name(legend, item.names) if legend and legend != "metric" else None)
    style.dress_figure(figure, item.title, first + notes.figure_footer(rows, names=item.names, spread=spread) + said)
    return figure


def printed_entries(rows: pd.DataFrame) -> list[Line2D]:
    """Return the legend entry of the printed numbers in a list, which is empty if there are none."""
    entry = Line2D(
        [], [], linestyle="none", marker="D", markersize=7, **printed_marker(INK), label="printed in the paper"
    )
    return [entry] if rows["paper_value"].notna().any() else []


def printed_marker(colour: Any) -> dict[str, Any]:
    """Return the marker style of a printed number: an open diamond in the colour of its line."""
    return {"markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 1.6}


def mark_if_blank(axes: Axes, part: pd.DataFrame) -> None:
    """Write "not measured" or, as tables do, "nan" where runs diverged, into a panel without numbers of ours or of the paper."""
    if not part[["value", "paper_value"]].notna().any(axis=None):
        text = "nan" if (part["n"] > 0).any() else "not measured"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
