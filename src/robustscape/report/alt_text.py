"""What a picture shows, in words: for readers who do not see it, and where it does not load. It is said from the files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from robustscape import catalog
from robustscape.config.studies import Item
from robustscape.report import notes
from robustscape.report.words import UNITS, axis_quantity, display_name, format_number, is_number, level_texts

#: Levels of a factor that are named one by one; of more, the first and last number, or how many words there are.
_NAMED = 6
#: Metrics whose range is said, and letters after which no more claims are quoted: a screen reader reads all of it at once.
_METRICS, _LETTERS = 4, 700


def alt_text(item: Item, rows: pd.DataFrame, claims: Sequence[Mapping[str, str]]) -> str:
    """Return title, quantities with their ranges, axes with their levels, and the claims with their verdicts.

    Args:
        item: the item as the study describes it.
        rows: the rows of its CSV.
        claims: its rows of ``claims.csv``.
    """
    measured = notes.measured_rows(rows)
    options = _options(item)
    named = set(_names_in(options))
    known = list(dict.fromkeys(rows["metric"]))
    # Without a choice of metrics, a figure draws those that its options name, and else all of the item.
    chosen = named | set(options["metrics"] or item.metrics) if "metrics" in options else named
    metrics = [m for m in known if m in chosen] or [m for m in known if m in item.metrics] or known
    used = measured[measured["metric"].isin(metrics)]
    factors = [f for f in item.factors if f in named] or [f for f in item.factors if not _is_numeric(used, f)]
    parts = [f"{item.title}.", f"Shown: {_quantities(used, metrics, item)}."]
    parts += [f"By {text}." for factor in factors if (text := _levels(used, factor, item))]
    if printed := int(rows.loc[rows["metric"].isin(metrics), "paper_value"].notna().sum()):
        parts.append(f"The paper prints {printed} of these numbers.")
    return " ".join([*parts, *_verdicts(claims, _LETTERS - sum(map(len, parts)))])


def _options(item: Item) -> dict[str, Any]:
    """Return all options of the item's drawing, those that have their defaults too."""
    entry = catalog.catalog_entries(item.kind).get(item.draw)
    fields = entry.parameters.model_fields if entry is not None else {}
    defaults = {name: field.default for name, field in fields.items() if not field.is_required()}
    return {**defaults, **item.options}


def _names_in(options: Any) -> Iterator[str]:
    """Yield every text in the options, however deep: among them are the names of the metrics and factors on the axes."""
    if isinstance(options, str):
        yield options
    elif isinstance(options, Mapping):
        yield from _names_in([*options, *options.values()])
    elif isinstance(options, (list, tuple)):
        for option in options:
            yield from _names_in(option)


def _is_numeric(rows: pd.DataFrame, factor: str) -> bool:
    return all(is_number(level) for level in rows[factor].dropna().unique())


def _quantities(rows: pd.DataFrame, metrics: Sequence[str], item: Item) -> str:
    """Return the metrics with the ranges of our values, as ``loss (nats) from 0.1 to 2.3``."""
    said = []
    for metric in metrics[:_METRICS]:
        own = rows[rows["metric"] == metric]
        values, unit = own["value"].dropna(), str(own["unit"].iloc[0]) if own["unit"].notna().any() else ""
        after = UNITS.get(unit, ("", unit))[0]
        low, high = (format_number(float(end), unit) + after for end in (values.min(), values.max()))
        where = "not measured" if values.empty else low if low == high else f"from {low} to {high}"
        said.append(f"{axis_quantity(metric, '' if after else unit, item.names)} {where}")
    more = len(metrics) - _METRICS
    return ", ".join([*said, *([f"and {more} more"] if more > 0 else [])])


def _levels(rows: pd.DataFrame, factor: str, item: Item) -> str:
    """Return a factor with its levels; empty if it has one."""
    levels = list(rows[factor].dropna().unique())
    if len(levels) < 2:
        return ""
    texts, name = level_texts(levels, item.names), display_name(factor, item.names)
    if len(levels) <= _NAMED:
        return f"{name}: {'; '.join(texts.values())}"
    if _is_numeric(rows, factor):
        return f"{name} from {texts[min(levels)]} to {texts[max(levels)]}"
    return f"{name}, {len(levels)} of them"


def _verdicts(claims: Sequence[Mapping[str, str]], letters: int) -> list[str]:
    """Return a sentence for each claim and its verdict, as many as fit, and how many more there are."""
    said = [f"Claim: {claim['says'].rstrip('.')}; {claim['verdict']}." for claim in claims]
    fit = [text for number, text in enumerate(said) if number == 0 or sum(map(len, said[: number + 1])) <= letters]
    more = len(said) - len(fit)
    return [*fit, *([f"{more} more {'claim' if more == 1 else 'claims'} below."] if more else [])]
