"""The notes beside numbers: stand-ins, number of repetitions, protocol, and warnings (flags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from robustscape.report.items import DEVIATIONS, MEASURED, POINTS, REPLICATES, SHARE, count_printed
from robustscape.report.words import axis_quantity, display_name, is_number, level_texts

#: Columns that trace where a row comes from and are no part of its protocol.
_TRACES = {
    *REPLICATES,
    "scale",
    "dataset",
    "architecture",
    "recipe",
    "eps",
    "checkpoint",
    "seconds",
    "device",
    "health",
}


def measured_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a value of ours; the others hold a printed number only."""
    return rows[rows["n"] > 0]


def stand_ins(rows: pd.DataFrame, *, names: Mapping[str, str]) -> list[str]:
    """The stand-ins used, each once, as ``fashion_mnist_14 for CIFAR-10``; empty if the study's own data and nets were used.

    One that stands in for several things is named with the first: ``garments_part0 for cifar100 part0 and 6 more``.
    """
    # "a for x + y, b for z": a comparison's row says all that one thing stands in for.
    pairs = [pair for text in measured_rows(rows)["stand_in"].unique() for pair in str(text).split(", ") if pair]
    ran_for: dict[str, dict[str, None]] = {}
    for pair in pairs:
        ran, _, theirs = pair.partition(" for ")
        ran_for.setdefault(ran, {}).update({display_name(one, names): None for one in theirs.split(" + ") if one})
    return [_stands_for(ran, list(theirs)) for ran, theirs in ran_for.items()]


def _stands_for(ran: str, theirs: Sequence[str]) -> str:
    more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
    return f"{ran} for {theirs[0]}{more}" if theirs else ran


def repetitions(rows: pd.DataFrame, spread: str = "standard deviation") -> str:
    """The number of repetitions and what the spread shown is over: ``mean ± standard deviation over seeds, n = 3``."""
    counts = measured_rows(rows)["n"]
    if counts.empty:
        return "nothing was measured"
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "n = 1"
    over = " and ".join(f"{c}s" for c in REPLICATES if c in rows and rows[c].astype(str).str.contains(";").any())
    count = f"n = {low}" if low == high else f"n = {low} to {high}"
    return f"mean ± {spread} over {over or 'repetitions'}, {count}"


def reproduced(rows: pd.DataFrame) -> str:
    """The number of printed numbers that ours are within, where they are compared; empty where none is."""
    counts = count_printed(rows)
    if not counts["compared"]:
        return ""
    return (
        f"{counts['within']} of {counts['compared']} numbers within {DEVIATIONS:g} standard deviations of the printed ones, or "
        f"within {POINTS:g} point or {SHARE:.0%}"
    )


def raised_flags(rows: pd.DataFrame, acknowledged: Sequence[str] = (), *, names: Mapping[str, str]) -> list[str]:
    """The raised flags that the item does not acknowledge, with the number of values each one affects."""
    here = measured_rows(rows)
    raised = {c: int((here[c].fillna(0).astype(float) > 0).sum()) for c in here.columns if str(c).startswith("flag_")}
    return [
        f"{display_name(column.removeprefix('flag_'), names)} ({count} of {len(here)} numbers)"
        for column, count in raised.items()
        if count and column not in acknowledged and column.removeprefix("flag_") not in acknowledged
    ]


def shared_protocol(rows: pd.DataFrame, factors: Sequence[str], *, names: Mapping[str, str]) -> str:
    """The protocol columns with one value in all rows, as ``attack = pgd, steps = 100``."""
    here = measured_rows(rows)
    parts = []
    for column in here.columns:
        if column in {*factors, *MEASURED, *_TRACES} or str(column).startswith("flag_"):
            continue
        values = here[column].dropna().unique()
        if len(values) == 1 and len(str(values[0])) <= 24:
            parts.append(f"{display_name(str(column), names)} = {level_texts(values, names)[values[0]]}")
    return ", ".join(parts)


def constant_factors(
    rows: pd.DataFrame, factors: Sequence[str], used: Sequence[str], *, names: Mapping[str, str]
) -> str:
    """The factors that do not vary and are on no axis, as ``MNIST 0/1, logistic regression, PGD, L2``."""
    parts = []
    for factor in factors:
        values = rows[factor].dropna().unique()
        if factor not in used and len(values) == 1:
            text = level_texts(values, names)[values[0]]
            parts.append(f"{display_name(factor, names)} {text}" if is_number(values[0]) else text)
    return ", ".join(parts)


def figure_footer(rows: pd.DataFrame, *, names: Mapping[str, str], spread: str = "standard deviation") -> str:
    """The line under a figure: scale, stand-ins, repetitions and the ``spread`` drawn, protocol, flags."""
    stood_in = stand_ins(rows, names=names)
    parts = []
    if "scale" in rows and len(rows):
        parts.append(f"scale {rows['scale'].iloc[0]}")
    if stood_in:
        parts.append(f"stand-in: {', '.join(stood_in)}")
    parts.append(repetitions(rows, spread))
    if len(measured_rows(rows)) and not measured_rows(rows)["paper_protocol"].all():
        parts.append("not the study's own protocol")
    if raised := raised_flags(rows, names=names):
        parts.append(f"FLAGS: {', '.join(raised)}")
    if compared := reproduced(rows):
        parts.append(compared)
    return " · ".join(parts)


def table_notes(
    rows: pd.DataFrame,
    factors: Sequence[str],
    used: Sequence[str],
    acknowledged: Sequence[str],
    *,
    names: Mapping[str, str],
) -> list[str]:
    """The notes under a table."""
    here, lines = measured_rows(rows), []
    if same := constant_factors(rows, factors, used, names=names):
        lines.append(f"{same[0].upper()}{same[1:]}.")
    if "metric" not in used:
        units = rows.drop_duplicates("metric").set_index("metric")["unit"].fillna("")
        lines.append(
            f"Shown: {', '.join(axis_quantity(str(metric), str(unit), names) for metric, unit in units.items())}."
        )
    scale = f"Scale {rows['scale'].iloc[0]}" if "scale" in rows and len(rows) else ""
    if stood_in := stand_ins(rows, names=names):
        lines.append(f"{scale + ', stand-in' if scale else 'Stand-in'}: {', '.join(stood_in)}.")
    elif scale:
        lines.append(f"{scale}.")
    lines.append(f"{repetitions(rows).replace('mean ±', 'Mean ±').replace('nothing', 'Nothing')}.")
    if rows["paper_value"].notna().any():
        context = "" if here["difference"].notna().any() else "; context, not a reproduction"
        lines.append(f"Beside ours: the number printed in the paper{context}.")
        if compared := reproduced(rows):
            lines.append(f"{compared[0].upper()}{compared[1:]}.")
        alone = int(((rows["n"] == 0) & rows["paper_value"].notna()).sum())
        if alone:
            lines.append(
                f"{alone} of {int(rows['paper_value'].notna().sum())} printed numbers have no counterpart here."
            )
    run_as = shared_protocol(rows, factors, names=names)
    whose = "" if here["paper_protocol"].all() else " (not the study's own)"
    if run_as or whose:
        lines.append(f"Protocol{whose}: {run_as}." if run_as else f"Protocol{whose}.")
    if raised := raised_flags(rows, acknowledged, names=names):
        lines.append(f"FLAGS, not acknowledged: {', '.join(raised)}.")
    if accepted := [display_name(flag.removeprefix("flag_"), names) for flag in acknowledged]:
        lines.append(f"Flags acknowledged: {', '.join(accepted)}.")
    return lines
