"""The rows of one source of an item: chosen, and under the factors that the work names them by."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from robustscape.config.studies import Source
from robustscape.errors import ConfigError, unknown_name

_COLUMN = re.compile(r"\{(\w+)\}")


def source_rows(
    rows: pd.DataFrame,
    source: Source,
    factors: Sequence[str],
    recipes: Mapping[str, Mapping[str, Any]],
    chosen: Collection[str] | None,
) -> pd.DataFrame:
    """The rows that an item takes from a source, labelled.

    Args:
        rows: all rows of the source; a column ``recipe`` says which recipe the run of a row was trained by.
        source: which of them, and what they are called.
        factors: of the item.
        recipes: recipe -> the factors it has by itself, a column -> a value; added where ``rows`` has no such column.
        chosen: the recipes whose rows are kept; None for all.

    Returns:
        The rows, with the columns that ``recipes`` knows and ``factors`` names, and those of ``source.label``.

    Raises:
        ConfigError: ``where``, ``minus`` or ``label`` names a column that is not there, or the rows of ``minus`` are no partners
            of the others.
    """
    used = {column for text in source.label.values() if isinstance(text, str) for column in _COLUMN.findall(text)}
    known = list(rows.columns)
    rows = _with_factors(rows, [*factors, *source.where, *source.minus, *sorted(used)], recipes)
    if chosen is not None:
        rows = rows[rows["recipe"].isin(chosen)]
    every_row = rows
    rows = _rows_where(every_row, source.where, "where")
    if source.minus:
        others = _rows_where(every_row, {**source.where, **source.minus}, "minus")
        same = [c for c in ("metric", "unit", "seed", *factors) if c in rows and c not in source.minus]
        rows = _differences(rows, others, same)
    labels = {column: _label(rows, value) for column, value in source.label.items()}
    added = [column for column in rows.columns if column not in known and column not in factors]
    return rows.drop(columns=added).assign(**labels)


def _rows_where(rows: pd.DataFrame, levels: Mapping[str, Any], key: str) -> pd.DataFrame:
    """The rows whose columns have these values, each a value or a list of values; ``key`` begins the sentence of an error."""
    for column, wanted in levels.items():
        if column not in rows:
            raise ConfigError(f"{key}: {unknown_name('column', column, rows.columns)}")
        rows = rows[rows[column].isin(wanted if isinstance(wanted, list) else [wanted])]
    return rows


def _differences(rows: pd.DataFrame, others: pd.DataFrame, same: list[str]) -> pd.DataFrame:
    """``rows`` with their values less those of ``others`` that agree in the columns ``same``, and flagged where either is.

    Raises:
        ConfigError: a row has no partner, or several.
    """
    if rows.duplicated(same).any() or others.duplicated(same).any() or len(rows) != len(others):
        raise ConfigError(
            f"minus: {len(rows)} rows less {len(others)} are no pairs, one for one, by {', '.join(same)}."
        )
    pairs = rows.merge(others, on=same, how="inner", suffixes=("", " less"))
    if len(pairs) != len(rows):
        raise ConfigError(f"minus: {len(rows) - len(pairs)} of {len(rows)} rows have no partner by {', '.join(same)}.")
    found = pairs[list(rows.columns)].assign(
        value=pairs["value"] - pairs["value less"],
        metric=pairs["metric"] + "_difference",
        unit=pairs["unit"].replace("percent", "percentage_points"),
    )
    flags = [column for column in rows.columns if str(column).startswith("flag_")]
    found = found.assign(**{flag: pairs[[flag, f"{flag} less"]].max(axis=1) for flag in flags})
    texts = [column for column in ("checkpoint", "health") if column in rows]  # of both networks
    return found.assign(**{text: [_joined(*two) for two in pairs[[text, f"{text} less"]].to_numpy()] for text in texts})


def _joined(*texts: Any) -> str | None:
    """The texts that are there, after one another; None if there is none."""
    return ";".join(text for text in texts if isinstance(text, str) and text) or None


def _with_factors(rows: pd.DataFrame, wanted: Sequence[str], recipes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """``rows`` with the wanted columns that it lacks and its recipes have."""
    if "recipe" not in rows:
        return rows
    here = {recipe: recipes.get(recipe, {}) for recipe in rows["recipe"].dropna().unique()}
    added = {
        column: rows["recipe"].map({recipe: own.get(column) for recipe, own in here.items()})
        for column in dict.fromkeys(wanted)
        if column not in rows and any(column in own for own in here.values())
    }
    return rows.assign(**added)


def _label(rows: pd.DataFrame, value: Any) -> Any:
    """A label; one that names columns in braces is written out for every row, numbers in their shortest form."""
    columns = _COLUMN.findall(value) if isinstance(value, str) else []
    if not columns:
        return value
    for column in columns:
        if column not in rows:
            raise ConfigError(f"label: {unknown_name('column', column, rows.columns)}")
    records = rows[columns].to_dict("records")
    return [value.format(**{str(key): _short(level) for key, level in record.items()}) for record in records]


def _short(value: Any) -> str:
    return f"{value:g}" if hasattr(value, "__float__") and not isinstance(value, (bool, str)) else str(value)
