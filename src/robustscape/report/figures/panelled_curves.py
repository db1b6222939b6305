"""Curves in panels that are described one by one: each with its metric, its selection of rows and its own scale."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name

_KEYS = ("metric", "where", "title", "hue", "log_y", "low")
#: Backgrounds before and after the end of a phase.
_TINTS = ("#E3F4E1", "#EFE6F7")


@style.styled
def panelled_curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    panels: list[dict],  # type: ignore[type-arg]
    hue: str | None = None,
    dash: str | None = None,
    looks: dict[str, Literal["solid", "dashed", "broad", "faint", "black dashed"]] = {},  # noqa: B006  (a schema; never changed)
    columns: int = 2,
    log_x: bool = False,
    steps: bool = False,
    points: bool = False,
    width: float | None = None,
    phase: str | None = None,
    phases: tuple[str, str] = ("before", "after"),
) -> Figure:
    """Return the mean against ``x`` with a band of one standard deviation, in a grid of panels that share no axis.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axes.
        panels: one mapping per panel, in reading order, with keys ``metric``, ``where`` (factor -> level), ``title``, ``hue`` (in
            place of that of the figure), ``log_y`` and ``low`` (where the vertical axis begins).
        hue: factor of the colours; numbers are coloured in their order.
        dash: factor of the line styles; the first level in the CSV is solid, the later ones dashed, dotted and dark.
        looks: level of that factor -> line style, for all of them, where it is not so; later ones lie on top.
        columns: panels side by side.
        log_x: use logarithmic horizontal axes.
        steps: draw piecewise constant lines, for schedules.
        points: draw a mark at every point.
        width: of the lines in points.
        phase: metric whose value is the ``x`` at which a panel's phase ends, in the row that has the panel's ``where`` and the
            first level of ``looks``; panels without such a row have no phases.
        phases: words for the backgrounds before and after it.

    Raises:
        ConfigError: a panel has an unknown key, metric or column, or two values fall on one place.
    """
    _parts.require_columns(rows, item, x, hue, dash)
    parts = []
    for place, panel in enumerate(panels):
        own = panel.get("hue", hue)
        part = _parts.rows_of_panel(rows[rows[x].notna()], item, panel, _KEYS)
        _parts.require_columns(part, item, own)
        _parts.refuse_duplicates(part, item, x, own, dash)
        parts.append(part.assign(place=place, colour=part[own] if own else None))
    shown = pd.concat(parts, ignore_index=True)
    coloured = "colour" if shown["colour"].notna().any() else None
    lines = _facets.lines_of(shown, item, coloured, dash, looks, marked=points)
    path: dict[str, Any] = {"artist_kws": {"drawstyle": "steps-post"}} if steps else {}
    path |= {"linewidth": width} if width else {}
    plot = _facets.line_plot(_facets.rows_to_plot(shown, x, lines, "place"), x, lines, **path)
    grid_of: dict[str, Any] = {"wrap": columns, "share_x": False, "share_y": False, "height": 3.0}
    figure, grid = _facets.draw_facets(plot, ("place", range(len(panels))), **grid_of)
    shaded = False
    for axes, panel, part in zip(grid.flat, panels, parts, strict=True):
        _parts.mark_if_blank(axes, part)
        axes.locator_params(axis="x", nbins=6, integer=bool((part[x].astype(float) % 1 == 0).all()))
        if log_x and not part.empty:
            axes.set(xscale="log", xlim=(part[x].min(), part[x].max()))
        if panel.get("log_y") and (part["value"] > 0).any():  # not where all runs diverged
            _parts.set_log_y(axes)
        if "low" in panel:
            axes.set_ylim(bottom=panel["low"])
        end = _phase_end(rows, panel, dash, next(iter(looks), None), phase)
        if end is not None:
            _shade(axes, end)
            shaded = True
        axes.set(title=panel.get("title", ""), xlabel=display_name(x, item.names))
        axes.set_ylabel(_parts.axis_label(rows, panel["metric"], names=item.names))
    handles = lines.legend_entries(item) + _parts.printed_entries(shown)
    if shaded:
        handles += [Patch(color=tint, label=word) for tint, word in zip(_TINTS, phases, strict=True)]
    return _parts.finish_figure(figure, item, shown, handles, legend=hue)


def _phase_end(
    rows: pd.DataFrame, panel: dict[str, Any], dash: str | None, level: str | None, phase: str | None
) -> float | None:
    """Return where the panel's phase ends; None if it has none, or the panel is of several lines that differ in it."""
    if phase is None or not panel.get("where"):
        return None
    found = rows[rows["metric"] == phase]
    for factor, wanted in {dash: level, **panel["where"]}.items():
        found = _parts.rows_at_level(found, factor, wanted)
    return float(found["value"].iloc[0]) if len(found) == 1 else None


def _shade(axes: Axes, end: float) -> None:
    """Colour the background before and after ``end``, within the limits of the axis."""
    low, high = axes.get_xlim()
    for begin, stop, tint in zip((low, end), (end, high), _TINTS, strict=True):
        axes.axvspan(max(begin, low), min(stop, high), color=tint, zorder=0, linewidth=0)
    axes.set_xlim(low, high)
