"""From measured rows to an item: its CSV (contract 2), with the printed numbers beside ours, and the files drawn from it.

A figure or table is drawn from the CSV as it was written, so that anyone can draw it again, or differently, from that
file alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from robustscape import catalog
from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report.level_matching import level_key, same_level
from robustscape.report.words import CENTRED
from robustscape.storage.atomic import write_bytes, write_text
from robustscape.storage.records import check_recorded

#: Columns that number the repetitions of one measurement: means are over these, and nothing else.
REPLICATES = ("seed", "direction", "draw")

#: Coordinates of a landscape; ``<metric>_centred`` is relative to the point where they are 0.
COORDINATES = ("alpha", "beta")

#: Columns that every item has after its factors.
MEASURED = (
    "metric",
    "value",
    "std",
    "n",
    "unit",
    "paper_value",
    "paper_std",
    "difference",
    "within",
    "stand_in",
    "paper_protocol",
)


def read_rows(csv: Path) -> pd.DataFrame:
    """The rows of an item's, a measurement's or a printed CSV; empty cells are missing values, words such as "None" stay."""
    # A hash such as 7461690014e6, or of digits alone, is no number.
    text = {"checkpoint": str}
    rows = pd.read_csv(csv, keep_default_na=False, na_values=[""], float_precision="round_trip", dtype=text)
    if "stand_in" in rows:
        rows["stand_in"] = rows["stand_in"].fillna("").astype(str)
    return rows


def read_recorded_rows(csv: Path) -> pd.DataFrame:
    """The rows of a result that its record vouches for.

    Raises:
        CorruptFile: the file was edited or damaged since, or has no record.
    """
    return read_rows(check_recorded(csv))


def select_metrics(rows: pd.DataFrame, factors: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """The rows of ``metrics`` in that order (of all metrics if the list is empty), centred metrics computed.

    ``loss_centred`` is ``loss`` minus its value where the landscape's coordinates are 0, for each seed and direction.
    """
    present = list(dict.fromkeys(rows["metric"]))
    parts = []
    for metric in metrics or present:
        base = metric.removesuffix(CENTRED)
        if metric in present:
            parts.append(rows[rows["metric"] == metric])
        elif metric != base and base in present:
            parts.append(_centred_rows(rows[rows["metric"] == base], factors))
        else:
            raise ConfigError(f"no row has metric '{metric}'. There are: {', '.join(present) or 'none'}.")
    return pd.concat(parts, ignore_index=True) if parts else rows


def _centred_rows(rows: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    coordinates = [column for column in COORDINATES if column in rows]
    if not coordinates:
        raise ConfigError(f"a centred metric needs a column {' or '.join(COORDINATES)}; there is neither.")
    keys = [c for c in (*factors, *REPLICATES, "stand_in") if c in rows and c not in coordinates]
    origin = rows[(rows[coordinates].fillna(0.0).abs() < 1e-9).all(axis=1)]
    if not keys:
        keys = ["metric"]
    at_zero = origin[[*keys, "value"]].rename(columns={"value": "_origin"}).drop_duplicates(keys)
    rows = rows.merge(at_zero, on=keys, how="left")
    if rows["_origin"].isna().any() and not rows["value"].isna().any():
        raise ConfigError(
            "a centred metric needs the value at 0; the grid has no such point (use an odd number of points)."
        )
    rows = rows.assign(metric=rows["metric"] + CENTRED, value=rows["value"] - rows["_origin"])
    return rows.drop(columns="_origin")


def aggregate_repetitions(
    rows: pd.DataFrame,
    factors: Sequence[str],
    printed: pd.DataFrame | None = None,
    bounds: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Mean and sample standard deviation over seeds (and directions), with the printed numbers beside them.

    Args:
        rows: measured rows; columns ``factors``, metric, value, and optionally unit, stand_in (the data or net used in
            place of the work's own, else empty), paper_protocol (bool), seed, protocol columns, ``flag_*``.
        factors: the columns that identify a number.
        printed: the work's numbers (factors..., metric, value, std, unit), or None.
        bounds: metric -> ``at_least`` or ``at_most``, where the printed number bounds the metric (``Item.bounds``).

    Returns:
        One row per number: ``factors``, then ``MEASURED``, then the flags (their maxima) and every other column of
        ``rows``: its value where the averaged rows agree, all values joined by ``;`` where they do not. ``difference``
        is ours minus the paper's, and empty unless data set, architecture and protocol are the work's own; ``within`` is 1
        where it is small (``_within_printed``) and 0 where not. A printed
        number that nothing reproduces has a row with an empty value and n = 0.

    Raises:
        ConfigError: a column is missing, two values compete for one place, or the units disagree.
    """
    factors = list(factors)
    missing = [column for column in (*factors, "metric", "value") if column not in rows]
    if missing:
        raise ConfigError(f"the rows have no column {missing}. There are: {', '.join(map(str, rows.columns))}.")
    rows = _with_defaults(rows)
    means = _mean_rows(rows, factors)
    table = means if printed is None else _with_printed(means, factors, printed)
    own = (table["stand_in"] == "") & table["paper_protocol"]
    table["difference"] = (table["value"] - table["paper_value"]).where(own)
    table["within"] = _within_printed(table, bounds).where(own & table["paper_value"].notna())
    return _sort_table(table, factors)


#: A number of ours reproduces a printed one within this many standard deviations, or within ``POINTS`` where the unit is a
#: percentage and ``SHARE`` of the printed number elsewhere, whichever is wider: works print few digits and seldom a deviation.
DEVIATIONS, POINTS, SHARE = 2.0, 1.0, 0.05

#: Units of what another machine took: it is shown beside ours, but is not there to be reproduced.
HARDWARE_UNITS = ("s", "second", "hour")


def _within_printed(table: pd.DataFrame, bounds: Mapping[str, str]) -> pd.Series:
    """1 where a number is as close to the printed one as its spread lets one expect, 0 where not, or where it is not finite.

    The standard deviation is the larger of ours and the printed one. Where the printed number is a bound, 1 says that ours
    respects it. Missing for times.
    """
    spread = table[["std", "paper_std"]].max(axis=1).fillna(0.0)
    points = table["unit"].isin(["percent", "percentage_points"])
    least = (SHARE * table["paper_value"].abs()).where(~points, POINTS)
    difference = table["difference"].fillna(float("inf"))
    close = difference.abs() <= (DEVIATIONS * spread).where(DEVIATIONS * spread > least, least)
    kind = table["metric"].map(bounds)
    close = close.mask(kind == "at_least", (difference >= 0) & (difference < float("inf")))
    close = close.mask(kind == "at_most", difference <= 0)
    return close.astype(float).mask(table["unit"].isin(HARDWARE_UNITS))


def count_printed(table: pd.DataFrame) -> dict[str, int]:
    """Return how many numbers the work printed, how many are compared with ours, and how many of these are ``within``."""
    return {
        "printed": int(table["paper_value"].notna().sum()),
        "compared": int(table["within"].notna().sum()),
        "within": int(table["within"].sum()),
    }


def _with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with defaults for the optional columns, and without duplicates."""
    rows = rows.drop_duplicates().reset_index(drop=True)
    defaults = {"unit": "", "stand_in": "", "paper_protocol": False}
    for column, default in defaults.items():
        rows[column] = rows[column].fillna(default) if column in rows else default
    rows["unit"] = rows["unit"].map(lambda unit: "1" if unit == 1 else str(unit))
    rows["stand_in"] = rows["stand_in"].astype(str)
    rows["paper_protocol"] = rows["paper_protocol"].map(lambda value: str(value) in ("True", "1", "1.0")).astype(bool)
    rows["value"] = rows["value"].astype(float)
    if {"step_size", "rel_step_size"} <= set(rows):
        # An attack with a step of its own does not read the share of eps that would be its step, and that has a default.
        rows["rel_step_size"] = rows["rel_step_size"].mask(rows["step_size"].notna())
    return rows


def _mean_rows(rows: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    keys = [*factors, "metric", "unit", "stand_in"]
    _refuse_competing_values(rows, keys)
    groups = rows.groupby(keys, dropna=False, sort=False)
    table = groups["value"].mean(skipna=False).to_frame()
    table["std"] = groups["value"].std(ddof=1, skipna=False)
    table["n"] = groups.size()
    table["paper_protocol"] = groups["paper_protocol"].all()
    rest = [c for c in rows.columns if c not in {*keys, "value", "paper_protocol"}]
    flags = [c for c in rest if str(c).startswith("flag_")]
    for flag in flags:
        table[flag] = groups[flag].max()
    for column in rest:
        if column not in flags:
            table[column] = _joined_values(rows, keys, column, groups.ngroup(), len(table))
    table = table.reset_index()
    for column in ("paper_value", "paper_std"):
        table[column] = float("nan")
    return table


def _refuse_competing_values(rows: pd.DataFrame, keys: list[str]) -> None:
    """Raise if rows of one number differ in more than their replicate: their mean would mix two protocols."""
    repeats = [c for c in REPLICATES if c in rows and c not in keys]
    doubled = rows[rows.duplicated([*keys, *repeats], keep=False)]
    if doubled.empty:
        return
    first = doubled.iloc[0]
    same = doubled
    for column in [*keys, *repeats]:
        same = same[same[column].isna()] if pd.isna(first[column]) else same[same[column] == first[column]]
    differ = [str(c) for c in same.columns if c != "value" and same[c].nunique(dropna=False) > 1]
    place = ", ".join(f"{c}={first[c]}" for c in [*keys, *repeats] if not pd.isna(first[c]) and first[c] != "")
    why = f"they differ in {', '.join(differ)}" if differ else "they differ in nothing else"
    raise ConfigError(
        f"{len(same)} values compete for {place}; {why}. Make that a factor of the item, or choose one with 'where'."
    )


def _joined_values(rows: pd.DataFrame, keys: list[str], column: str, group: pd.Series, count: int) -> list[Any]:
    """One value per group: the common one, or all of them joined by ``;``."""
    if rows[column].nunique(dropna=False) <= 1:
        return [rows[column].iloc[0]] * count if len(rows) else []
    found: list[list[Any]] = [[] for _ in range(count)]
    for index, value in pd.DataFrame({"g": group, "v": rows[column]}).drop_duplicates().itertuples(index=False):
        found[index].append(value)
    return [values[0] if len(values) == 1 else ";".join(str(v) for v in values if not pd.isna(v)) for values in found]


def _to_our_levels(values: pd.Series, ours: pd.Series) -> list[Any]:
    """The printed levels, each replaced by the level of ours that is the same, where there is one."""
    known = list(ours.drop_duplicates())
    found = {level_key(v): next((k for k in known if same_level(k, v)), v) for v in values.drop_duplicates()}
    return [found[level_key(value)] for value in values]


def _with_printed(table: pd.DataFrame, factors: list[str], printed: pd.DataFrame) -> pd.DataFrame:
    """``table`` with ``paper_value`` and ``paper_std`` filled in, and rows for numbers that only the paper has."""
    shared = [factor for factor in factors if factor in printed]
    if not shared:
        raise ConfigError(f"the printed numbers share no factor with the item: they have {', '.join(printed.columns)}.")
    printed = printed.dropna(subset=["value"]).reset_index(drop=True)
    for factor in shared:
        printed[factor] = pd.Series(_to_our_levels(printed[factor], table[factor]), index=printed.index, dtype=object)
    keys = [*shared, "metric"]

    def places(frame: pd.DataFrame) -> list[tuple[Hashable, ...]]:
        return [tuple(level_key(value) for value in row) for row in frame[keys].itertuples(index=False)]

    theirs = dict(zip(places(printed), printed.to_dict("records"), strict=True))
    if len(theirs) < len(printed):
        extra = [c for c in printed.columns if c not in {*keys, "value", "std", "unit"}]
        raise ConfigError(f"several printed numbers have the same {', '.join(keys)}; add a factor: {', '.join(extra)}.")
    ours = places(table)
    for index, place in enumerate(ours):
        if place in theirs:
            record = theirs[place]
            unit, their_unit = table.at[index, "unit"], _unit_of(record)
            if unit and their_unit and unit != their_unit:
                raise ConfigError(f"{record['metric']} is measured in '{unit}' but printed in '{their_unit}'.")
            table.loc[index, ["paper_value", "paper_std"]] = [record["value"], record.get("std", float("nan"))]
    alone = [record for place, record in theirs.items() if place not in set(ours)]
    if not alone:
        return table
    rows = pd.DataFrame(
        [
            {
                **{key: record[key] for key in keys},
                "n": 0,
                "unit": _unit_of(record),
                "paper_value": record["value"],
                "paper_std": record.get("std", float("nan")),
                "stand_in": "",
                "paper_protocol": False,
            }
            for record in alone
        ]
    )
    table = pd.concat([table.astype({"paper_protocol": object}), rows], ignore_index=True)
    return table.astype({"paper_protocol": bool, "value": float, "std": float, "n": int})


def _unit_of(record: dict[Any, Any]) -> str:
    unit = record.get("unit", "")
    return "" if unit != unit or unit is None else str(unit).removesuffix(".0")


def _sort_table(table: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """Numbers ascending, words in order of appearance, missing last; columns in the order of the contract."""

    def rank(column: pd.Series) -> pd.Series:
        levels = list(dict.fromkeys(level_key(value) for value in column))
        numbers = sorted(level for level in levels if isinstance(level, float))
        words = [level for level in levels if isinstance(level, str)]
        order: dict[Hashable, int] = {level: index for index, level in enumerate([*numbers, *words, None])}
        return column.map(lambda value: order[level_key(value)])

    ranks = pd.DataFrame({column: rank(table[column]) for column in [*factors, "metric"]})
    table = table.loc[ranks.sort_values(list(ranks.columns), kind="stable").index].reset_index(drop=True)
    columns = [c for c in MEASURED if c != "paper_std" or table["paper_std"].notna().any()]
    rest = [c for c in table.columns if c not in {*factors, *MEASURED}]
    flags = [c for c in rest if str(c).startswith("flag_")]
    return table[[*factors, *columns, *flags, *(c for c in rest if c not in flags)]]


def write_item(
    item: Item, rows: pd.DataFrame, csv: Path, *, printed: pd.DataFrame | None = None, scale: str = ""
) -> list[Path]:
    """Write an item's CSV, and its .md and .tex or .png and .svg beside it; return the paths.

    Args:
        item: the item's stanza in the study.
        rows: the measured rows of all its sources, labelled with the work's factors.
        csv: path of the CSV, ``results/<scale>/<work>/<item>.csv``.
        printed: the work's numbers.
        scale: name of the scale, recorded in every row.
    """
    table = aggregate_repetitions(select_metrics(rows, item.factors, item.metrics), item.factors, printed, item.bounds)
    if scale:
        table["scale"] = scale
    write_text(csv, table.to_csv(index=False, lineterminator="\n"))
    drawing = draw_item(item, csv)
    if item.kind == "table":
        contents = {".md": drawing.markdown().encode(), ".tex": drawing.latex(f"{csv.parent.name}:{csv.stem}").encode()}
    else:
        from robustscape.report.style import render_figure

        contents = render_figure(drawing)
    for suffix, content in contents.items():
        write_bytes(csv.with_suffix(suffix), content)
    return [csv, *(csv.with_suffix(suffix) for suffix in contents)]


def draw_item(item: Item, csv: Path) -> Any:
    """The item's ``Table`` or ``Figure``, drawn from its CSV."""
    return catalog.load_function(item.kind, item.draw)(read_rows(csv), item, **item.options)
