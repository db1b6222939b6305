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
        ConfigError: ``where`` or ``label`` names a column that is not there.
    """
    used = {column for text in source.label.values() if isinstance(text, str) for column in _COLUMN.findall(text)}
    known = list(rows.columns)
    rows = _with_factors(rows, [*factors, *source.where, *sorted(used)], recipes)
    if chosen is not None:
        rows = rows[rows["recipe"].isin(chosen)]
    for column, wanted in source.where.items():
        if column not in rows:
            raise ConfigError(f"where: {unknown_name('column', column, rows.columns)}")
        rows = rows[rows[column].isin(wanted if isinstance(wanted, list) else [wanted])]
    labels = {column: _label(rows, value) for column, value in source.label.items()}
    added = [column for column in rows.columns if column not in known and column not in factors]
    return rows.drop(columns=added).assign(**labels)


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
