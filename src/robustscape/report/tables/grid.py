"""A table with factors down, metrics or factors across, and the printed number beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import notes
from robustscape.report.table import Cell, Table
from robustscape.report.words import axis_quantity, display_name, format_number, format_spread, is_number, level_texts


def grid(
    rows: pd.DataFrame,
    item: Item,
    *,
    index: list[str],
    columns: list[str] = ["metric"],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    acknowledged: list[str] = [],  # noqa: B006
) -> Table:
    """Return a table with one row per level of ``index`` and one column per level of ``columns``.

    A cell reads ``99.89 ± 0.02 (paper 99.91)``: mean and standard deviation over seeds, and the printed number.

    Args:
        rows: the item's CSV.
        item: the item as the study describes it.
        index: factors whose levels are the row headings, outermost first.
        columns: factors, or ``metric``, whose levels are the column headings, outermost first.
        acknowledged: known flags; the notes list them apart from the unexpected ones.

    Raises:
        ConfigError: a column is missing, or two values fall into one cell.
    """
    used = [*index, *columns]
    unknown = [column for column in used if column not in rows]
    if unknown:
        raise ConfigError(f"table '{item.title}': no column {unknown}. There are: {', '.join(rows.columns)}.")
    doubled = rows[rows.duplicated(used, keep=False)]
    if not doubled.empty:
        differ = [
            f for f in [*item.factors, "metric", "stand_in"] if f not in used and doubled[f].nunique(dropna=False) > 1
        ]
        raise ConfigError(
            f"table '{item.title}': several values fall into one cell; they differ in {', '.join(differ)}."
        )

    texts = {column: _texts(rows, column, names=item.names) for column in used}
    for column in columns:
        said = {
            level: f"{display_name(column, item.names)} = {text}"
            for level, text in texts[column].items()
            if is_number(level)
        }
        texts[column] |= said
    down, across = _places(rows, index, item), _places(rows, columns, item)
    cells = {
        (tuple(_key(record[c]) for c in index), tuple(_key(record[c]) for c in columns)): _cell(record)
        for record in rows.to_dict("records")
    }
    return Table(
        title=item.title,
        index=tuple(display_name(column, item.names) for column in index),
        columns=tuple(_heads(place, columns, texts) for place in across),
        body=tuple(
            (_heads(place, index, texts), tuple(cells.get((place, other), Cell()) for other in across))
            for place in down
        ),
        notes=tuple(notes.table_notes(rows, item.factors, used, acknowledged, names=item.names)),
    )


def _key(value: Any) -> Any:
    """Return ``value``, or None for NaN, which is not equal to itself."""
    return None if value != value else value


def _texts(rows: pd.DataFrame, column: str, *, names: Mapping[str, str]) -> dict[Any, str]:
    """Return the heading of each level of a column; metrics carry their units."""
    if column == "metric":
        units = rows.drop_duplicates("metric").set_index("metric")["unit"].fillna("")
        return {metric: axis_quantity(metric, str(unit), names) for metric, unit in units.items()}
    return level_texts(rows[column].dropna().unique(), names)


def _heads(place: tuple[Any, ...], columns: list[str], texts: dict[str, dict[Any, str]]) -> tuple[str, ...]:
    return tuple("" if value is None else texts[column][value] for column, value in zip(columns, place, strict=True))


def _places(rows: pd.DataFrame, columns: list[str], item: Item) -> list[tuple[Any, ...]]:
    """Return the combinations of levels in the order of the CSV, outer levels together; metrics in the order of the item."""
    orders = []
    for column in columns:
        found = [_key(value) for value in rows[column].drop_duplicates()]
        orders.append([m for m in item.metrics if m in found] if column == "metric" and item.metrics else found)
    places = {tuple(_key(value) for value in row) for row in rows[columns].itertuples(index=False)}
    return sorted(places, key=lambda place: [order.index(v) for order, v in zip(orders, place, strict=True)])


def _cell(record: dict[Any, Any]) -> Cell:
    """Return the cell of one row of the CSV."""
    unit = "" if record["unit"] != record["unit"] else str(record["unit"])
    value = format_number(record["value"], unit) or ("nan" if record["n"] else "")
    std = format_spread(record["std"], record["value"], unit)
    paper = format_number(record["paper_value"], unit)
    paper_std = format_spread(record.get("paper_std", float("nan")), record["paper_value"], unit) if paper else ""
    difference = format_number(record["difference"], unit)
    return Cell(
        f"{value} ± {std}" if std else value,
        f"{paper} ± {paper_std}" if paper_std else paper,
        difference if not difference or difference.startswith("-") or float(difference) == 0 else f"+{difference}",
    )
