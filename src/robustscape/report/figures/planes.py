"""Panels of a plane (a loss with paths, flows, arrows and points on it, from above or in perspective) and of curves.

The rows say what is drawn: the column ``layer`` says how, ``panel`` in which panel (all of them if it is empty).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _layers, _parts


@style.styled
def planes(
    rows: pd.DataFrame,
    item: Item,
    *,
    columns: int = 3,
    x_label: str = "x",
    y_label: str = "y",
    labels: dict[str, tuple[str, str]] = {},  # noqa: B006  (read from the syntax tree as a schema; never changed)
    perspective: list[str] = [],  # noqa: B006
    colour: Literal["sequential", "diverging"] = "sequential",
    decades: float | None = None,
    colour_limit: float | None = None,
    equal: bool = False,
    log_y: list[str] = [],  # noqa: B006
    marginal: list[str] = [],  # noqa: B006
    zoom: dict[str, tuple[float, float, float, float]] = {},  # noqa: B006
    width: float = 4.6,
    height: float = 3.9,
) -> Figure:
    """Return panels of a plane or of curves, in the order of the CSV, with one legend and one colour scale.

    Args:
        rows: the item's CSV; columns panel, layer, method, point, x, y and, where the layer needs them, dx, dy, text.
        item: the item as the study describes it.
        columns: panels in a row.
        x_label: name of the horizontal axis of planes.
        y_label: name of the vertical axis of planes.
        labels: panel, or the beginning of its name -> labels of its axes, where they differ from those above.
        perspective: panels, or beginnings of their names, that are drawn as surfaces in perspective.
        colour: colour map of the surfaces; the diverging one is white at 0.
        decades: number of powers of ten over which colours are logarithmic (on both sides of 0 for diverging ones).
        colour_limit: values above it (or below minus it) get the last colour.
        equal: the same scale in both directions.
        log_y: panels of curves, or beginnings of their names, with a logarithmic vertical axis.
        marginal: panels, or beginnings of their names, with a histogram of the x of their points above them.
        zoom: panel, or the beginning of its name -> limits (x from, x to, y from, y to).
        width: of a panel in inches.
        height: of a panel in inches.
    """
    _parts.require_columns(rows, item, "panel", "layer", "method", "point", "x", "y")
    shown = rows[rows["layer"].notna() & (rows["n"] > 0)].sort_values("point", kind="stable")
    if shown.empty:
        raise ConfigError(f"figure '{item.title}': no row has a layer to draw.")
    panels = list(shown["panel"].dropna().unique()) or [None]
    methods = _layers.coloured_methods(shown)
    colour_of = dict(zip(methods, style.colours([str(m) for m in methods], item.colours), strict=True))
    across = min(columns, len(panels))
    down = math.ceil(len(panels) / across)
    figure = style.empty_figure(max(6.4, width * across + (2.2 if colour_of else 0.9)), height * down + 0.9)
    scale = _layers.surface_colours(shown, colour, decades, colour_limit)
    seen: list[Axes] = []
    for place, panel in enumerate(panels, 1):
        part = shown[shown["panel"].isna() | (shown["panel"] == panel)]
        title = item.names.get(str(panel), str(panel or ""))
        steep = bool(_of_panel(panel, perspective))
        axes = figure.add_subplot(down, across, place, projection="3d" if steep else None)
        if steep:
            _layers.draw_perspective(axes, part, colour_of, scale)
        else:
            _layers.draw_layers(axes, part, colour_of, scale)
            if not _layers.shows_plane(part):
                axes.locator_params(axis="x", nbins=5)
                axes.ticklabel_format(axis="x", style="plain")
            elif equal:
                axes.set_aspect("equal", adjustable="box")
            if _of_panel(panel, log_y):
                axes.set_yscale("log")
            if window := _of_panel(panel, zoom):
                axes.set(xlim=window[:2], ylim=window[2:])
        x_name, y_name = _of_panel(panel, labels) or (x_label, y_label)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        if _of_panel(panel, marginal):
            _layers.draw_marginal(axes, part, colour_of, title)
        else:
            axes.set_title(title)
        seen.append(axes)
    if scale is not None:
        beyond = "neither" if colour_limit is None else "both" if colour == "diverging" else "max"
        metric = str(shown.loc[shown["layer"] == "surface", "metric"].iloc[0])
        look = {"shrink": min(0.85, 3.6 / down / height), "pad": 0.015, "aspect": 25, "extend": beyond}
        _parts.draw_colour_bar(figure, scale, seen, _parts.axis_label(shown, metric, names=item.names), **look)
    handles = [_layers.legend_entry(shown, method, shade, names=item.names) for method, shade in colour_of.items()]
    return _parts.finish_figure(figure, item, rows, handles + _parts.printed_entries(shown))


def _of_panel(panel: str | None, named: Mapping[str, Any] | Sequence[str]) -> Any:
    """Return what a mapping has (a list: the name) for the first name that the panel's begins with; None if there is none."""
    name = next((name for name in named if panel and panel.startswith(name)), None)
    return named[name] if name is not None and isinstance(named, Mapping) else name
