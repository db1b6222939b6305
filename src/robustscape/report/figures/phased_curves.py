"""Curves over the logarithm of time, in panels whose background changes where a phase ends; simulations under closed forms."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name

#: How a line looks, by the way it was made, in the order drawn: a closed form lies on top, as black dashes.
_LOOKS: dict[str, dict[str, Any]] = {
    "faint": {"linewidth": 1.2, "alpha": 0.45},
    "line": {"linewidth": 2.6, "alpha": 0.85},
    "dashes": {"linewidth": 1.1, "color": style.INK, "linestyle": (0, (3, 2.5))},
}
#: Backgrounds before and after the end of the phase.
_BEFORE, _AFTER = "#E3F4E1", "#EFE6F7"
_KEYS = ("metric", "where", "title", "hue", "log_y", "low")


@style.styled
def phased_curves(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str,
    panels: list[dict],  # type: ignore[type-arg]
    made: str,
    looks: dict[str, Literal["line", "faint", "dashes"]],
    phase: str | None = None,
    phases: tuple[str, str] = ("before", "after"),
    columns: int = 2,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return one panel for each selection of rows, with a logarithmic horizontal axis and one legend.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axes, above 0.
        panels: one mapping a panel, in reading order, with keys ``metric``, ``where`` (factor -> level), ``title``, ``hue``
            (factor of the colours), ``log_y`` and ``low`` (where the vertical axis begins).
        made: factor that says how a line was made.
        looks: level of that factor -> how it is drawn.
        phase: metric whose value is the ``x`` at which a panel's phase ends, in the row that has the panel's ``where`` and the
            first level of ``looks``; None or a panel without such a row: no phases.
        phases: words for the backgrounds before and after it.
        columns: panels side by side.
        acknowledged: known flags, which the footer does not list.

    Raises:
        ConfigError: a panel has an unknown key or column, or no rows.
    """
    _parts.require_columns(rows, item, x, made)
    drawn, parts = [], []
    for place, panel in enumerate(panels):
        _parts.require_columns(rows, item, panel["hue"])
        part = _parts.rows_of_panel(rows[rows[x].notna() & (rows["n"] > 0)], item, panel, _KEYS)
        if part.empty:
            raise ConfigError(f"figure '{item.title}': no row has {panel['metric']} where {panel.get('where', {})}.")
        _parts.refuse_duplicates(part, item, x, panel["hue"], made)
        drawn.append(part)
        level = part[panel["hue"]].astype(str)
        parts.append(part.assign(place=place, level=level, line=panel["hue"] + " " + level))
    shown = pd.concat(parts, ignore_index=True)
    named = dict(zip(shown["line"], shown["level"], strict=True))
    shades = dict(zip(named, style.colours(list(named.values()), item.colours), strict=True))
    plot = _facets.plot_of(shown, x=x, color="line").scale(color=_facets.scale_of(shades))
    for level, kind in sorted(looks.items(), key=lambda look: list(_LOOKS).index(look[1])):
        own = shown["value"].where(_parts.at_level(shown, made, level))
        fixed = {"color": None, "group": "line"} if "color" in _LOOKS[kind] else {}
        plot = plot.add(so.Line(**_LOOKS[kind]), y=own, legend=False, **fixed)
    places = list(range(len(panels)))
    figure, grid = _facets.draw_facets(plot, ("place", places), wrap=columns, share_x=False, share_y=False, height=2.9)
    shaded = False
    for axes, panel, part in zip(grid.flat, panels, drawn, strict=True):
        axes.set_xscale("log")
        axes.set_xlim(part[x].min(), part[x].max())
        if panel.get("log_y"):
            _parts.set_log_y(axes)
        if "low" in panel:
            axes.set_ylim(bottom=panel["low"])
        end = _phase_end(rows, panel, made, next(iter(looks)), phase)
        if end is not None:
            _shade(axes, end)
            shaded = True
        axes.set_title(panel.get("title", ""))
        axes.set_xlabel(display_name(x, item.names))
        axes.set_ylabel(_parts.axis_label(rows, panel["metric"], names=item.names))
    handles = _facets.legend_entries(shades, {line: display_name(level, item.names) for line, level in named.items()})
    handles += [
        Line2D([], [], **{"color": style.GREY, **_LOOKS[kind]}, label=display_name(level, item.names))
        for level, kind in looks.items()
    ]
    if shaded:
        handles += [Patch(color=tint, label=word) for tint, word in zip((_BEFORE, _AFTER), phases, strict=True)]
    return _parts.finish_figure(figure, item, pd.concat(drawn), acknowledged, handles=handles)


def _phase_end(rows: pd.DataFrame, panel: dict[str, Any], made: str, level: str, phase: str | None) -> float | None:
    """Return where the panel's phase ends; None if it has none, or the panel is of several lines that differ in it."""
    if phase is None or not panel.get("where"):
        return None
    found = rows[(rows["metric"] == phase) & (rows[made] == level)]
    for factor, wanted in panel["where"].items():
        found = _parts.rows_at_level(found, factor, wanted)
    return float(found["value"].iloc[0]) if len(found) == 1 else None


def _shade(axes: Axes, end: float) -> None:
    """Colour the background before and after ``end``, within the limits of the axis."""
    low, high = axes.get_xlim()
    axes.axvspan(low, min(max(end, low), high), color=_BEFORE, zorder=0, linewidth=0)
    axes.axvspan(min(max(end, low), high), high, color=_AFTER, zorder=0, linewidth=0)
    axes.set_xlim(low, high)
