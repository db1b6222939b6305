"""What several figures share: choosing rows, ticks at radii, titles of panels, the mark of a printed number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes, style
from robustscape.report.level_matching import same_level
from robustscape.report.style import GREY, INK
from robustscape.report.words import is_number, levels, name, quantity


def need(rows: pd.DataFrame, item: Item, *columns: str | None) -> None:
    """Refuse columns the rows do not have."""
    unknown = [column for column in columns if column is not None and column not in rows]
    if unknown:
        raise ConfigError(f"figure '{item.title}': no column {unknown}. There are: {', '.join(rows.columns)}.")


def refuse_doubled(rows: pd.DataFrame, item: Item, *columns: str | None) -> None:
    """Refuse a line or bar with two values at one place: some factor that varies is on no axis."""
    used = ["metric", *(column for column in columns if column is not None)]
    doubled = rows[rows.duplicated(used, keep=False)]
    if not doubled.empty:
        differ = [f for f in [*item.factors, "stand_in"] if f not in used and doubled[f].nunique(dropna=False) > 1]
        raise ConfigError(f"figure '{item.title}': several values at one place; they differ in {', '.join(differ)}.")


def metrics(rows: pd.DataFrame, item: Item, wanted: Sequence[str]) -> list[str]:
    """The metrics to draw: those asked for, else the item's, else all."""
    found = list(dict.fromkeys(rows["metric"]))
    chosen = [m for m in (wanted or item.metrics or found) if m in found]
    if not chosen:
        raise ConfigError(
            f"figure '{item.title}': no row has a metric of {list(wanted)}. There are: {', '.join(found)}."
        )
    return chosen


def distinct(rows: pd.DataFrame, column: str | None) -> list[Any]:
    """Levels of a column in the order of the CSV; ``[None]`` without a column."""
    return [None] if column is None else list(rows[column].dropna().drop_duplicates())


def at(rows: pd.DataFrame, column: str | None, level: Any) -> pd.DataFrame:
    """The rows of a level."""
    if column is None:
        return rows
    return rows[rows[column].map({value: same_level(value, level) for value in rows[column].unique()}).astype(bool)]


def axis_name(rows: pd.DataFrame, metric: str) -> str:
    """A metric with its unit."""
    units = rows.loc[rows["metric"] == metric, "unit"].dropna()
    return quantity(metric, str(units.iloc[0]) if len(units) else "")


def panel_title(rows: pd.DataFrame, column: str | None, level: Any) -> str:
    """A panel's heading: its level, and what really ran if that is a stand-in for the panel's data set."""
    if column is None:
        return ""
    text = levels([level])[level]
    if is_number(level) or text.endswith("/255"):
        return f"{name(column)} = {text}"
    stood_in = notes.stand_ins(at(rows, column, level)) if column == "dataset" else []
    return f"{text}\n({stood_in[0].partition(' for ')[0]} stands in)" if stood_in else text


def panels(down: int, across: int, sharey: bool | str, sharex: bool | str = True) -> tuple[Figure, Any]:
    """A figure and its axes (down, across); a lone column of two or three lies on its side."""
    if across == 1 and down in (2, 3):
        figure, grid = style.panels(1, down, sharex=sharex is True)
        return figure, grid.T
    return style.panels(down, across, sharex=sharex, sharey=sharey)


def log_y(axes: Axes) -> None:
    """A logarithmic vertical axis; plain numbers at 1, 2 and 5 where it spans less than two powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if low > 1e-3 and high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def ticks(axes: Axes, values: Sequence[float], column: str) -> None:
    """Ticks at the levels where they are few and apart, as at 0, 4/255, 8/255; else matplotlib's, whole for whole levels."""
    known = sorted({float(value) for value in values})
    span = known[-1] - known[0]
    if 1 < len(known) <= 8 and span > 0 and min(np.diff(known)) >= 0.09 * span:
        texts = levels(known)
        axes.set_xticks(known, [texts[value] for value in known])
    elif any("/255" in text for text in levels(known).values()):
        step = next((s for s in (4, 8, 16, 32, 64) if span * 255 / s <= 6.5), 64)
        at_255 = np.arange(0, known[-1] * 255 + 0.5, step)
        axes.set_xticks(at_255 / 255, ["0" if k == 0 else f"{k:g}/255" for k in at_255])
    else:
        axes.xaxis.set_major_locator(
            MaxNLocator(5, steps=[1, 2, 3, 5, 10], integer=all(value % 1 == 0 for value in known))
        )
    axes.set_xlabel(name(column))


def errors(std: pd.Series) -> pd.Series | None:
    """Lengths of error bars; None, not bars of no length, where nothing was repeated."""
    return std.fillna(0.0) if std.notna().any() else None


def paper_mark() -> Line2D:
    """The legend's entry for a printed number."""
    return Line2D([], [], linestyle="none", marker="D", markersize=7, **hollow(INK), label="printed in the paper")


def hollow(colour: Any) -> dict[str, Any]:
    """A printed number is an open diamond in the colour of the line it belongs to."""
    return {"markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 1.6}


def blank(part: pd.DataFrame) -> bool:
    """Whether a panel would stay empty: no row, or none with a number of ours or of the paper."""
    return not part[["value", "paper_value"]].notna().any(axis=None)


def nothing(axes: Axes) -> None:
    """Say that a panel is empty rather than leave it blank."""
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=GREY)
