"""The printed numbers of an item beside ours, one row each, with the difference and a bar of it (contract 3).

A difference counts only where data set, architecture and protocol are the work's own. Elsewhere the gap between the two numbers
is context: it is in brackets and its bar is hollow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustscape.config.studies import Item
from robustscape.report.words import axis_quantity, display_name, format_number, format_spread, level_texts


@dataclass(frozen=True)
class PrintedNumber:
    """A row of the table.

    Args:
        levels: of the factors that vary, in words.
        quantity: the metric with its unit.
        ours: mean and standard deviation; empty where nothing reproduces the number.
        n: number of repetitions of ours.
        printed: the printed number, with its standard deviation where there is one.
        difference: ours minus the printed one, with its sign; in brackets where it is context.
        bar: the difference as a share of the largest of its metric, from -1 to 1; 0 where there is none.
        verdict: ``within`` or ``beyond`` what the spread lets one expect, ``context``, or ``none`` where ours is missing.
    """

    levels: tuple[str, ...]
    quantity: str
    ours: str
    n: int
    printed: str
    difference: str
    bar: float
    verdict: str


@dataclass(frozen=True)
class PrintedTable:
    """All printed numbers of an item: the names of the factors that vary, and the rows."""

    factors: tuple[str, ...]
    rows: tuple[PrintedNumber, ...]

    @property
    def is_context(self) -> bool:
        """True if some differences are context and no reproduction."""
        return any(row.verdict == "context" for row in self.rows)


def printed_table(rows: pd.DataFrame, item: Item) -> PrintedTable | None:
    """Return the printed numbers of an item's CSV beside ours, in the order of the CSV; None where nothing was printed."""
    rows = rows[rows["paper_value"].notna()]
    if rows.empty:
        return None
    factors = [factor for factor in item.factors if rows[factor].nunique(dropna=False) > 1]
    texts = {factor: level_texts(rows[factor].dropna().unique(), item.names) for factor in factors}
    gaps = rows["value"] - rows["paper_value"]
    largest = gaps.abs().where(gaps.abs() < float("inf")).groupby(rows["metric"]).max().to_dict()
    found = tuple(
        _printed_number(record, tuple(_text(texts[f], record[f]) for f in factors), largest, item.names)
        for record in rows.to_dict("records")
    )
    return PrintedTable(tuple(display_name(factor, item.names) for factor in factors), found)


def _printed_number(
    record: Mapping[Any, Any], levels: tuple[str, ...], largest: Mapping[Any, float], names: Mapping[str, str]
) -> PrintedNumber:
    unit = "" if record["unit"] != record["unit"] else str(record["unit"])
    gap, within = record["value"] - record["paper_value"], record["within"]
    if not record["n"]:
        verdict = "none"
    elif within == within:
        verdict = "within" if within else "beyond"
    else:
        verdict = "context"
    sign = with_sign(gap, unit)
    return PrintedNumber(
        levels=levels,
        quantity=axis_quantity(str(record["metric"]), unit, names),
        ours=with_spread(record["value"], record["std"], unit) or ("nan" if record["n"] else ""),
        n=int(record["n"]),
        printed=with_spread(record["paper_value"], record.get("paper_std", float("nan")), unit),
        difference=f"({sign})" if sign and verdict == "context" else sign,
        bar=bar_length(gap, largest.get(record["metric"], 0.0)),
        verdict=verdict,
    )


def with_spread(value: float, std: float, unit: str) -> str:
    """Return a number and its standard deviation, where there is one, as ``61.83 ± 0.71``; empty for NaN."""
    spread = format_spread(std, value, unit)
    text = format_number(value, unit)
    return f"{text} ± {spread}" if text and spread else text


def with_sign(value: float, unit: str) -> str:
    """Return a difference with its sign; empty for NaN.

    >>> with_sign(0.5, "percent"), with_sign(-0.5, "percent"), with_sign(0.0, "percent"), with_sign(float("nan"), "")
    ('+0.50', '−0.50', '0.00', '')
    """
    text = format_number(value, unit)
    if not text or text.startswith("-"):
        return text.replace("-", "−", 1)
    return text if float(text) == 0 else f"+{text}"


def bar_length(value: float, largest: float) -> float:
    """Return a difference as a share of the largest, from -1 to 1; 0 where either is not finite or nothing differs.

    >>> bar_length(-2.0, 4.0), bar_length(float("nan"), 4.0), bar_length(1.0, 0.0), bar_length(float("inf"), 4.0)
    (-0.5, 0.0, 0.0, 0.0)
    """
    if not math.isfinite(value) or not math.isfinite(largest) or largest <= 0:
        return 0.0
    return max(-1.0, min(1.0, value / largest))


def _text(texts: Mapping[Any, str], level: Any) -> str:
    return "" if level != level or level is None else texts[level]
