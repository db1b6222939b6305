"""Leading Hessian eigenvalues against the eps of training, for both conventions of the derivative."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import style
from robustscape.report.figures import _facets, _parts
from robustscape.report.words import display_name


class _Look(NamedTuple):
    """Line style of a convention, the share of light its colours keep, and whether its points are marked."""

    stroke: Any
    light: float
    marked: bool


#: The first, second and third convention; the later ones are dark, so that they can be seen on top of the first.
_LOOKS = (_Look("-", 1.0, True), _Look((0, (4, 2.2)), 0.55, False), _Look((0, (1, 1.5)), 0.3, False))


@style.styled
def eigenvalues(
    rows: pd.DataFrame,
    item: Item,
    *,
    x: str = "eps",
    rank: str = "rank",
    convention: str | None = "convention",
    panel: str | None = "norm",
    metrics: list[str] = ["hessian_eigenvalue"],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    log_y: bool = False,
    acknowledged: list[str] = [],  # noqa: B006
) -> Figure:
    """Return one panel per norm, each with its own scales, one colour per eigenvalue and one line style per convention.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        x: numeric factor on the horizontal axis.
        rank: column that numbers the eigenvalues from the largest, 1.
        convention: column that says whether the attack was held fixed or differentiated through.
        panel: factor of the panels.
        metrics: the metric of the eigenvalues, a list of one.
        log_y: use logarithmic vertical axes.
        acknowledged: known flags, which the footer does not list.
    """
    rows, drawn = _parts.rows_to_draw(rows, item, rank, x, convention, panel, metrics=metrics)
    columns, ranks = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, rank)
    looks = dict(zip(_parts.distinct_levels(rows, convention), _LOOKS, strict=False))
    colour = dict(zip(ranks, itertools.cycle(style.OKABE_ITO)))
    marker = dict(zip(ranks, itertools.cycle(style.MARKERS)))
    lines = {f"{how} {which:g}": (how, which) for how in looks for which in ranks}
    of_row = rows[convention].where(rows[convention].notna(), None) if convention else [None] * len(rows)
    rows = rows.assign(line=[f"{how} {which:g}" for how, which in zip(of_row, rows[rank], strict=True)])
    plotted = _facets.line_plot(
        _facets.rows_to_plot(rows, x, "line", panel), x, "line",
        {line: style.darker(colour[which], looks[how].light) for line, (how, which) in lines.items()},
        spread=so.Range(), marker={line: marker[which] if looks[how].marked else "" for line, (how, which) in lines.items()},
        dash=convention, strokes={how: look.stroke for how, look in looks.items()}, pointsize=5, linewidth=1.7,
    )  # fmt: skip
    figure, grid = _facets.draw_facets(plotted, (panel, columns), share_x=False, share_y=False)
    for axes, level in zip(grid[0], columns, strict=True):
        if log_y:
            _parts.set_log_y(axes)
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        _parts.set_level_ticks(axes, list(_parts.rows_at_level(rows, panel, level)[x]), x, names=item.names)
    grid[0, 0].set_ylabel(_parts.axis_label(rows, drawn[0], names=item.names))
    subscripts = {which: f"λ{which:g}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) for which in ranks}
    handles = _facets.legend_entries(colour, subscripts, marker=marker, markersize=5)
    if len(looks) > 1:
        said = {
            how: f"{display_name(str(convention), item.names)}: {display_name(str(how), item.names)}" for how in looks
        }
        handles += [
            Line2D([], [], color=style.darker(style.GREY, look.light), linestyle=look.stroke, label=said[how])
            for how, look in looks.items()
        ]
    return _parts.finish_figure(figure, item, rows, acknowledged, handles=[*handles, *_parts.printed_entries(rows)])
