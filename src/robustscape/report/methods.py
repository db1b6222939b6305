"""Methods x metrics x cost: the networks that a work compares, one row each, with every number its tables have of them.

A row is what was trained: data set, architecture, method and its settings. A column is a metric under an attack, or a cost. The
items of a work are joined by the recipe and eps of their rows; times of training are those of the runs with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustscape.config.studies import Item
from robustscape.report.level_matching import level_key
from robustscape.report.printed_numbers import with_spread
from robustscape.report.run_facts import RunFacts
from robustscape.report.words import axis_quantity, display_name, level_texts

#: An item that would add more columns than this is no comparison of methods but a sweep, which its own table shows.
_MOST_COLUMNS = 16
#: What tells networks apart beside the method.
_PLACE = ("dataset", "architecture")


@dataclass(frozen=True)
class MethodTable:
    """One table of methods.

    Args:
        title: what they were trained on.
        columns: headings, those of costs last.
        rows: the method with its settings, and one text per column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass
class _Network:
    label: str
    cells: dict[str, str]
    checkpoints: set[str]
    stands_at: tuple[str, ...]


def method_tables(items: Iterable[tuple[Item, pd.DataFrame]], runs: Iterable[RunFacts]) -> list[MethodTable]:
    """Return the tables of a work: one for each data set and architecture on which two methods or more were compared.

    Args:
        items: those that are there, with the rows of their CSVs.
        runs: of the work, for the costs.
    """
    networks: dict[tuple[Any, ...], _Network] = {}
    for item, rows in items:
        if item.kind == "table" and "method" in item.factors and "recipe" in rows and "method" in rows:
            _add_item(networks, item, rows[(rows["n"] > 0) & rows["method"].notna()])
    by_checkpoint = {checkpoint: run for run in runs for checkpoint in run.checkpoints}
    places: dict[tuple[str, ...], list[_Network]] = {}
    for network in networks.values():
        _add_costs(network, [by_checkpoint[c] for c in sorted(network.checkpoints) if c in by_checkpoint])
        places.setdefault(network.stands_at, []).append(network)
    tables = [_method_table(place, found) for place, found in places.items()]
    return [table for table in tables if len(table.rows) > 1 and table.columns]


def _add_item(networks: dict[tuple[Any, ...], _Network], item: Item, rows: pd.DataFrame) -> None:
    """Add the numbers of an item to the networks that they are of."""
    trained = [c for c in (*_PLACE, "method", "recipe", "eps") if c in rows]
    factors = [f for f in item.factors if f not in {*trained, *_PLACE}]
    groups = rows.groupby(trained, dropna=False, sort=False)
    settings = [f for f in factors if groups[f].nunique(dropna=False).le(1).all()]
    across = [f for f in factors if f not in settings and rows[f].nunique(dropna=False) > 1]
    places = rows[[*across, "metric"]].drop_duplicates()
    if len(places) > _MOST_COLUMNS:
        return
    settings = [f for f in settings if rows[f].nunique(dropna=False) > 1]
    shown = [*settings, *(["eps"] if "eps" in rows and rows["eps"].nunique() > 1 else [])]
    texts = {c: level_texts(rows[c].dropna().unique(), item.names) for c in {*trained, *shown, *across}}
    for record in rows.to_dict("records"):
        key = tuple(level_key(record[c]) for c in trained if c != "method")
        label = texts["method"][record["method"]]
        for c in shown:
            if record[c] == record[c]:
                label = _with_setting(label, display_name(c, item.names), texts[c][record[c]])
        place = tuple(texts[c][record[c]] for c in _PLACE if c in item.factors and record[c] == record[c])
        network = networks.setdefault((*key, place), _Network(label, {}, set(), place))
        unit = "" if record["unit"] != record["unit"] else str(record["unit"])
        column = ", ".join(
            [
                axis_quantity(str(record["metric"]), unit, item.names),
                *(_level(item, c, texts[c][record[c]]) for c in across if record[c] == record[c]),
            ]
        )
        text = with_spread(record["value"], record["std"], unit) or "nan"
        if network.cells.setdefault(column, text) != text:  # another protocol under the same name
            network.cells[f"{column} ({item.title})"] = text
        network.checkpoints |= set(str(record.get("checkpoint", "")).split(";"))


def _with_setting(label: str, name: str, text: str) -> str:
    """Return a label with a setting after it, whose name is not said twice.

    >>> _with_setting("SAM", "ρ", "0.1"), _with_setting("single step, checkpoints", "checkpoints", "2")
    ('SAM, ρ 0.1', 'single step, checkpoints 2')
    """
    return f"{label} {text}" if label.endswith(name) else f"{label}, {name} {text}"


def _level(item: Item, factor: str, text: str) -> str:
    """Return a level in a heading: words alone, numbers with the name of their factor."""
    return f"{display_name(factor, item.names)} {text}" if text[:1].isdigit() else text


def _add_costs(network: _Network, runs: list[RunFacts]) -> None:
    """Add what the runs behind a row cost, as means over its seeds."""
    epochs = [run.epoch_seconds for run in runs if run.epoch_seconds is not None]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    if epochs:
        network.cells["time of an epoch (s)"] = f"{sum(epochs) / len(epochs):.4g}"
    if seconds:
        network.cells["training of a run (s)"] = f"{sum(seconds) / len(seconds):.4g}"


def _method_table(place: tuple[str, ...], networks: list[_Network]) -> MethodTable:
    columns = list(dict.fromkeys(column for network in networks for column in network.cells))
    filled: Mapping[str, int] = {c: sum(c in network.cells for network in networks) for c in columns}
    # What one network alone has compares nothing; times stand last.
    columns = sorted((c for c in columns if filled[c] > 1), key=lambda c: "time" in c or "(s)" in c or "pass" in c)
    kept = [network for network in networks if any(column in network.cells for column in columns)]
    return MethodTable(
        title=", ".join(place) or "all data sets",
        columns=tuple(columns),
        rows=tuple((n.label, tuple(n.cells.get(column, "") for column in columns)) for n in kept),
    )
