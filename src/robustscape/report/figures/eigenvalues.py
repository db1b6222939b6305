"""Leading Hessian eigenvalues against the eps of training, for both conventions of the derivative."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, level_texts

#: Line style, True for markers, and brightness of the first, second and third convention; the later ones are thin and dark,
#: so that they can be seen on top of the first.
_DASHES: tuple[tuple[Any, bool, float], ...] = (
    ("-", True, 1.0),
    ((0, (4, 2.2)), False, 0.55),
    ((0, (1, 1.5)), False, 0.3),
)


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
    _parts.require_columns(rows, item, x, rank, convention, panel)
    drawn = _parts.metrics_to_draw(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn) & rows[rank].notna()]
    _parts.refuse_duplicates(rows, item, x, rank, convention, panel)
    columns, ranks = _parts.distinct_levels(rows, panel), _parts.distinct_levels(rows, rank)
    conventions = _parts.distinct_levels(rows, convention)
    colour = dict(zip(ranks, style.OKABE_ITO * (1 + len(ranks) // len(style.OKABE_ITO)), strict=False))

    figure, grid = style.panel_figure(1, len(columns))
    for axes, level in zip(grid[0], columns, strict=True):
        part = _parts.rows_at_level(rows, panel, level)
        for (dash, marked, shade), kind in zip(_DASHES, conventions, strict=False):
            for number, which in enumerate(ranks):
                own = _parts.rows_at_level(_parts.rows_at_level(part, convention, kind), rank, which).sort_values(x)
                axes.errorbar(
                    own[x],
                    own["value"],
                    _parts.error_bar_lengths(own["std"]),
                    linestyle=dash,
                    linewidth=1.9 if marked else 1.4,
                    color=style.darker(colour[which], shade),
                    marker=style.MARKERS[number % len(style.MARKERS)] if marked else "",
                    markersize=5,
                    capsize=2.5,
                )
                printed = own.dropna(subset=["paper_value"])
                axes.plot(printed[x], printed["paper_value"], "D", **_parts.printed_marker(colour[which]))
        if log_y:
            _parts.set_log_y(axes)
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        _parts.set_level_ticks(axes, list(part[x]), x, names=item.names)
    grid[0, 0].set_ylabel(_parts.axis_label(rows, drawn[0], names=item.names))
    handles = [
        Line2D(
            [], [], color=colour[r], marker=style.MARKERS[i % len(style.MARKERS)], markersize=5, label=f"λ{_small(r)}"
        )
        for i, r in enumerate(ranks)
    ]
    if len(conventions) > 1:
        texts = level_texts(conventions, item.names)
        for (dash, _, shade), kind in zip(_DASHES, conventions, strict=False):
            grey = style.darker(style.GREY, shade)
            handles.append(
                Line2D(
                    [],
                    [],
                    color=grey,
                    linestyle=dash,
                    label=f"{display_name(str(convention), item.names)}: {texts[kind]}",
                )
            )
    if rows["paper_value"].notna().any():
        handles.append(_parts.printed_legend_entry())
    style.legend(figure, handles)
    style.dress_figure(figure, item.title, notes.figure_footer(rows, acknowledged, names=item.names))
    return figure


def _small(rank: float) -> str:
    """Return a number in subscript digits."""
    return f"{rank:g}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
