"""Leading Hessian eigenvalues against the training radius, in both conventions of the derivative."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustscape.config.studies import Item
from robustscape.report import notes, style
from robustscape.report.figures import _parts
from robustscape.report.words import levels, name

#: Line, marker and shade of the first, second, third convention: the later are thin and dark, to be seen on the first.
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
    """One colour an eigenvalue, one dash a convention, one panel a norm, each with its own scales.

    Args:
        rows: the item's CSV.
        item: its stanza.
        x: numeric factor on the horizontal axis.
        rank: column that numbers the eigenvalues from the largest, 1.
        convention: column that says whether the attack is held fixed or differentiated through.
        panel: factor of the panels.
        metrics: the metric of the eigenvalues; one.
        log_y: logarithmic vertical axes.
        acknowledged: flags that the footer need not shout.
    """
    _parts.need(rows, item, x, rank, convention, panel)
    drawn = _parts.metrics(rows, item, metrics)
    rows = rows[rows["metric"].isin(drawn) & rows[rank].notna()]
    _parts.refuse_doubled(rows, item, x, rank, convention, panel)
    columns, ranks = _parts.distinct(rows, panel), _parts.distinct(rows, rank)
    conventions = _parts.distinct(rows, convention)
    colour = dict(zip(ranks, style.OKABE_ITO * (1 + len(ranks) // len(style.OKABE_ITO)), strict=False))

    figure, grid = style.panels(1, len(columns))
    for axes, level in zip(grid[0], columns, strict=True):
        part = _parts.at(rows, panel, level)
        for (dash, marked, shade), kind in zip(_DASHES, conventions, strict=False):
            for number, which in enumerate(ranks):
                own = _parts.at(_parts.at(part, convention, kind), rank, which).sort_values(x)
                axes.errorbar(
                    own[x],
                    own["value"],
                    _parts.errors(own["std"]),
                    linestyle=dash,
                    linewidth=1.9 if marked else 1.4,
                    color=style.darker(colour[which], shade),
                    marker=style.MARKERS[number % len(style.MARKERS)] if marked else "",
                    markersize=5,
                    capsize=2.5,
                )
                printed = own.dropna(subset=["paper_value"])
                axes.plot(printed[x], printed["paper_value"], "D", **_parts.hollow(colour[which]))
        if log_y:
            _parts.log_y(axes)
        axes.set_title(_parts.panel_title(rows, panel, level, names=item.names))
        _parts.ticks(axes, list(part[x]), x, names=item.names)
    grid[0, 0].set_ylabel(_parts.axis_name(rows, drawn[0], names=item.names))
    handles = [
        Line2D(
            [], [], color=colour[r], marker=style.MARKERS[i % len(style.MARKERS)], markersize=5, label=f"λ{_small(r)}"
        )
        for i, r in enumerate(ranks)
    ]
    if len(conventions) > 1:
        texts = levels(conventions, item.names)
        for (dash, _, shade), kind in zip(_DASHES, conventions, strict=False):
            grey = style.darker(style.GREY, shade)
            handles.append(
                Line2D([], [], color=grey, linestyle=dash, label=f"{name(str(convention), item.names)}: {texts[kind]}")
            )
    if rows["paper_value"].notna().any():
        handles.append(_parts.paper_mark())
    style.legend(figure, handles)
    style.dress(figure, item.title, notes.footer(rows, acknowledged, names=item.names))
    return figure


def _small(rank: float) -> str:
    """1 -> subscript 1."""
    return f"{rank:g}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
