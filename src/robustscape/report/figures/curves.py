"""Curves against a numeric factor, one per level of another: landscapes g(alpha), training histories, accuracy over eps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.numbers import pretty_number
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.level_matching import same_level
from robustscape.report.words import display_name, level_texts

#: Points that still have a mark each, on a line.
_FEW = 20
#: The dashed line of ``upright``, and the bars behind the lines.
_UPRIGHT: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2)), "linewidth": 1.2}
_BEHIND: dict[str, Any] = {"color": style.GREY, "alpha": 0.3}


@style.styled
def curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    hue: str | None = None,
    dash: str | None = None,
    panel: str | None = None,
    against: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    metrics: list[str] = [],  # noqa: B006
    points: bool = False,
    share: bool = True,
    stars: dict[str, float] = {},  # noqa: B006
    upright: str | None = None,
    bars: str | None = None,
    standard_error: bool = False,
) -> Figure:
    """Return the mean against ``x`` with a band of one standard deviation; printed numbers are open diamonds.

    There is one column of panels per level of ``panel`` and one row of panels per metric.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        hue: factor of the colours; numbers are coloured in their order. ``metric`` puts metrics of one unit into one panel.
        dash: factor of the line styles; the first level in the CSV is solid, the later ones dashed, dotted and dark.
        panel: factor of the columns of panels.
        against: metrics with a value at every level of ``x``, such as the seconds since the start: there is a further column of
            panels for each, with its values on the horizontal axis.
        metrics: metrics to draw; empty: the item's metrics that are not in ``against``.
        points: mark the points, if there are at most 20, and join the printed numbers by dotted lines.
        share: use one scale for the panels of a row, so that they can be compared.
        stars: level of ``hue`` -> value of ``x`` at which its line has a star, as in kim2023 figure 5.5.
        upright: metric whose single value is a place on the horizontal axis: a dashed line in every panel, as in kim2023 figure
            2.2.
        bars: metric of grey bars behind the lines, with a scale of its own on the right, as in kim2023 figure 3.5; the levels of
            ``x`` are then evenly spaced.
        standard_error: the band is the standard deviation over the root of the number of repetitions, as in ma2025 figure 4.6.

    Raises:
        ConfigError: a metric or column is missing, or two values fall on one place.
    """
    for metric in (*against, *([bars] if bars else [])):
        _parts.metrics_to_draw(rows, item, [metric])
    for option, given, other, needed in (
        ("against", bool(against), "without 'panel'", not panel),
        ("stars", bool(stars), "with 'hue'", bool(hue)),
    ):
        if given and not needed:
            raise ConfigError(f"figure '{item.title}': '{option}' is for figures {other}.")
    kept = [metric for metric in item.metrics if metric not in against]
    every, place, behind = rows, _single_place(rows, item, upright), rows[rows["metric"] == bars]
    rows, drawn = _parts.rows_to_draw(rows, item, x, hue, dash, panel, metrics=metrics or kept)
    columns, levels = _parts.distinct_levels(rows, panel), sorted(_parts.distinct_levels(rows, x))
    lines = _facets.lines_of(rows, item, hue, dash, marked=points and len(levels) <= _FEW)
    band = rows["unit" if hue == "metric" else "metric"].fillna("")
    bands = list(dict.fromkeys(band[rows["metric"] == metric].iloc[0] for metric in drawn))
    shown = rows.assign(band=band, at=rows[x].map(levels.index) if bars else rows[x])
    if against:
        shown, panel, columns = _with_efforts(shown, every, [x, hue, dash], against), "effort", [x, *against]
    if standard_error:
        shown["std"] /= shown["n"] ** 0.5
    plotted = _facets.rows_to_plot(shown, "at", lines, panel)
    plot = _facets.line_plot(plotted, "at", lines)
    if points:
        plot = plot.add(so.Path(linestyle=":", linewidth=1.2, alpha=0.8), y="paper_value", legend=False)
    if stars:
        at_its_own = [same_level(stars.get(line), at) for line, at in zip(plotted[hue], plotted[x], strict=True)]
        star = so.Dot(marker="*", pointsize=15, edgewidth=1, artist_kws={"clip_on": False, "zorder": 5})
        plot = plot.add(star, y=plotted["value"].where(at_its_own), legend=False)
    shared: dict[str, Any] = {"share_x": (share and not against) or "col", "share_y": share and "row"}
    figure, grid = _facets.draw_facets(plot, (panel, columns), ("band", bands), **shared)
    for (row, column), axes in np.ndenumerate(grid):
        own = _parts.rows_at_level(shown, panel, columns[column])
        part = own[own["band"] == bands[row]]
        _parts.mark_if_blank(axes, part)
        if axes.get_subplotspec().is_first_row() and not against:
            axes.set_title(_parts.panel_title(rows, panel, columns[column], names=item.names))
        if axes.get_subplotspec().is_last_row():
            ticks = own if shared["share_x"] == "col" else shown
            _parts.set_level_ticks(axes, list(ticks["at"]), x, names=item.names)
            if column and against:
                axes.set_xlabel(_parts.axis_label(every, columns[column], names=item.names))
        if column == 0:
            axes.set_ylabel(_parts.shared_axis_label(part, list(part["metric"].unique()), names=item.names))
        if place is not None:
            axes.axvline(place, **_UPRIGHT)
    if bars:
        _draw_behind(grid, behind, item, x, (panel, columns), levels)
    handles = lines.legend_entries(item) + _star_entries(stars, x, item)
    if place is not None:
        handles.append(Line2D([], [], **_UPRIGHT, label=display_name(str(upright), item.names)))
    if bars:
        handles.append(Patch(**_BEHIND, label=display_name(bars, item.names)))
    handles += _parts.printed_entries(rows)
    spread = "standard error" if standard_error else "standard deviation"
    return _parts.finish_figure(figure, item, pd.concat([rows, behind]), handles, legend=hue, spread=spread)


def _single_place(rows: pd.DataFrame, item: Item, metric: str | None) -> float | None:
    """Return the only value of a metric; None if it has none."""
    found = rows.loc[rows["metric"] == metric, "value"].dropna()
    if len(found) > 1:
        raise ConfigError(f"figure '{item.title}': '{metric}' has {len(found)} values, where one place is marked.")
    return float(found.iloc[0]) if len(found) else None


def _with_efforts(
    rows: pd.DataFrame, every: pd.DataFrame, factors: Sequence[str | None], against: Sequence[str]
) -> pd.DataFrame:
    """Return the rows once for the first factor and once for each metric (``effort``), with its value as their place ``at``."""
    keys = [factor for factor in factors if factor not in (None, "metric")]
    spent = every[every["metric"].isin(against)].pivot(index=keys, columns="metric", values="value")
    places = rows.join(spent, on=keys)
    more = [rows.assign(at=places[metric], effort=metric) for metric in against]
    return pd.concat([rows.assign(effort=factors[0]), *more], ignore_index=True)


def _draw_behind(
    grid: Any, rows: pd.DataFrame, item: Item, x: str, across: tuple[str | None, Sequence[Any]], levels: Sequence[Any]
) -> None:
    """Draw bars behind the lines of each column of panels, with one scale on the right of the last."""
    panel, columns = across
    _parts.refuse_duplicates(rows, item, x, panel)
    highest = rows["value"].max()
    for axes, level in zip(grid.flat, [*columns] * (grid.size // len(columns)), strict=True):
        behind = axes.twinx()
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        own = _parts.rows_at_level(rows[rows[x].isin(levels)], panel, level)
        behind.bar(own[x].map(levels.index), own["value"], 0.6, **_BEHIND)
        behind.set_ylim(0, 1.05 * highest if highest > 0 else 1)
        behind.grid(visible=False)
        axes.set_xticks(range(len(levels)), list(level_texts(levels, item.names).values()))
        if level == columns[-1]:
            behind.set_ylabel(_parts.shared_axis_label(rows, list(rows["metric"][:1]), names=item.names))
        else:
            behind.set_yticklabels([])


def _star_entries(stars: Mapping[str, float], x: str, item: Item) -> list[Line2D]:
    """Return the legend entry of the stars in a list, which is empty if there are none."""
    places = {pretty_number(place) for place in stars.values()}
    label = "at its own point" if len(places) > 1 else f"{display_name(x, item.names)} = {''.join(places)}"
    look: dict[str, Any] = {"linestyle": "none", "marker": "*", "markersize": 13, "color": style.GREY, "label": label}
    return [Line2D([], [], **look)] if stars else []
