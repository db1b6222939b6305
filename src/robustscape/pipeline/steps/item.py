"""The step ``item``: tables and figures, with the work's own names beside ours. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pandas as pd

from robustscape.claims.checks import tally
from robustscape.config.experiment import Experiment, Planned
from robustscape.config.studies import Source
from robustscape.errors import ConfigError, MissingData
from robustscape.pipeline import fingerprints
from robustscape.pipeline.health import with_health_flag
from robustscape.pipeline.plan import Plan, Table
from robustscape.pipeline.stale import check_item_sources
from robustscape.report import items
from robustscape.report.sources import source_rows
from robustscape.storage import atomic
from robustscape.storage.provenance import environment
from robustscape.storage.records import hash_files, item_is_current, read_record


def make_items(plan: Plan, targets: Sequence[str]) -> None:
    """Make the tables and figures ``work/item``, each with the record that says from what.

    Raises:
        ConfigError: there is no such item.
        MissingData: a table that it is made from does not exist yet.
        CorruptFile: one was made by other configuration, code or runs than today's.
    """
    for target in targets:
        _make_item(plan, *plan.find_target("items", target))


def _make_item(plan: Plan, work: str, name: str) -> None:
    stanza, csv = plan.studies[work].items[name], plan.item_path(work, name)
    record_path = csv.with_suffix(".json")
    sources = plan.item_sources(work, stanza)
    for path in sources:
        if not path.exists():
            raise MissingData(
                f"{work}/{name} is made from {path}, which is not there; `robustscape run {work}` makes it."
            )
    check_item_sources(plan, work, name)
    inputs = hash_files(sources)
    fingerprint = _fingerprint(plan, work, name, inputs)
    files = [path for path in plan.item_files(work, name) if path != record_path]
    if item_is_current(record_path, files, fingerprint):
        return
    started = time.perf_counter()
    printed = items.read_rows(plan.experiment.paper / f"{stanza.printed}.csv") if stanza.printed else None
    items.write_item(stanza, item_rows(plan, work, name), csv, printed=printed, scale=plan.experiment.scale_name)
    seconds_of_sources = [read_record(path.with_suffix(".json")).get("seconds", 0) for path in sources]
    record: dict[str, Any] = {
        "command": plan.command("item", f"{work}/{name}"),
        "config": stanza.model_dump(mode="json"),
        "code": fingerprints.item_code(stanza),
        "fingerprint": fingerprint,
        "inputs": inputs,
        "outputs": hash_files(files),
        "printed": items.count_printed(items.read_rows(csv)),
        "seconds": round(time.perf_counter() - started, 3),
        "seconds_of_measurements": round(sum(seconds_of_sources), 3),
        "environment": environment(),
        "versions": {"pandas": pd.__version__},
    }
    atomic.write_json(record_path, record)


def is_up_to_date(plan: Plan, work: str, name: str) -> bool:
    """Return whether an item was made with today's configuration and code, from the tables that are there now."""
    sources = plan.item_sources(work, plan.studies[work].items[name])
    if not all(path.exists() for path in sources):
        return False
    record = read_record(plan.item_path(work, name).with_suffix(".json"))
    return record.get("fingerprint") == _fingerprint(plan, work, name, hash_files(sources))


def _fingerprint(plan: Plan, work: str, name: str, inputs: list[dict[str, str]]) -> str:
    """What the item depends on, the content of its tables (``inputs``) included."""
    return fingerprints.complete_fingerprint(
        fingerprints.item_fingerprint(plan, work, name), [given["sha256"] for given in inputs]
    )


def item_rows(plan: Plan, work: str, name: str) -> pd.DataFrame:
    """Return all rows behind an item, with the work's factors and what stood in for them.

    Raises:
        ConfigError: ``where`` names a column that the rows do not have.
    """
    frames = [_source_rows(plan, work, name, source) for source in plan.studies[work].items[name].rows]
    return pd.concat(frames, ignore_index=True)


def _source_rows(plan: Plan, work: str, name: str, source: Source) -> pd.DataFrame:
    """Return the rows of one source of an item that its ``where`` selects, labelled."""
    tables = plan.tables(work, source.of)
    if source.of in plan.studies[work].theory:
        rows = pd.concat([_theory_rows(table) for table in tables], ignore_index=True)
    else:
        rows = pd.concat([_rows_in_the_works_names(plan, table) for table in tables], ignore_index=True)
        rows = with_lr_factor(plan.experiment, rows)
    experiment, factors = plan.experiment, plan.studies[work].items[name].factors
    chosen = experiment.recipe_names(work, source.runs) if source.runs else None
    try:
        return source_rows(rows, source, factors, experiment.factors, chosen)
    except ConfigError as error:
        raise ConfigError(f"item {work}/{name}: {error}") from None


def with_lr_factor(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the column ``lr_factor`` if the scale trained a recipe of theirs at another rate than the recipe says.

    A row may name the work's rate in a factor (``learning_rate``), and must then say what it was multiplied by.
    """
    if "recipe" not in rows:
        return rows
    factors = {}
    for name in rows["recipe"].dropna().unique():
        trained = experiment.recipes[name].optimizer.parameters.get("lr")
        stated = experiment.full_recipes[name].optimizer.parameters.get("lr")
        factors[name] = round(trained / stated, 9) if trained and stated else 1.0
    return rows.assign(lr_factor=rows["recipe"].map(factors)) if set(factors.values()) - {1.0} else rows


def _theory_rows(table: Table) -> pd.DataFrame:
    """Return the rows of a theory check; nothing stands in for anything there."""
    frame = items.read_recorded_rows(table.path)
    frame = frame if "metric" in frame else tally(frame)
    # A toy with the work's own constants says so itself.
    return frame.assign(stand_in="", paper_protocol=frame.get("paper_protocol", False))


def _own_protocol(frame: pd.DataFrame, table: Table) -> Any:
    """Return whether each row reproduces a number: the table's runs do, and the row does not say that it is none of theirs."""
    if "paper_protocol" not in frame:
        return table.paper_protocol
    return frame["paper_protocol"].isna() & table.paper_protocol


def in_the_works_names(frame: pd.DataFrame, runs: Sequence[Planned]) -> pd.DataFrame:
    """Return rows with what stood in for a data set, an architecture or an eps replaced by what it stands for.

    A stand-in for several is resolved by the runs that a row can be about, which its columns dataset, architecture, recipe, eps
    and seed say; where these leave more than one name, and in every other column of a comparison, it is left as it is.

    Args:
        frame: the rows of a measurement or comparison.
        runs: its runs, with the names that the work gives them.
    """
    named = [field for field in RUN_FIELDS if field in frame]
    places = [tuple(row) for row in frame[named].itertuples(index=False)]
    theirs_at = {place: _works_names_of_a_row(dict(zip(named, place, strict=True)), runs) for place in set(places)}
    replaced: dict[str, list[Any]] = {
        field: [theirs_at[place][field] for place in places] for field in STOOD_IN if field in frame
    }
    # A comparison names the runs that its rows are about in columns of its own.
    texts = frame.select_dtypes(include=["object", "string"]).columns.difference(["metric", "unit", "health", *named])
    for column in texts:
        theirs = {value: _works_name(value, runs, ("architecture", "dataset")) for value in frame[column].unique()}
        replaced[str(column)] = [theirs[value] for value in frame[column]]
    return frame.assign(**replaced)


#: Columns by which a row names its run, and those in which a scale lets something stand in.
RUN_FIELDS = ("dataset", "architecture", "recipe", "eps", "seed")
STOOD_IN = ("dataset", "architecture", "eps")


def _works_names_of_a_row(names: dict[str, Any], runs: Sequence[Planned]) -> dict[str, Any]:
    """Return the work's names for the columns ``STOOD_IN`` of a row that names its run by ``names`` (``RUN_FIELDS``).

    They are those of the runs that fit all of ``names``, or of all ``runs`` if none does (the row speaks of several).
    """
    said = {field: value for field, value in names.items() if not pd.isna(value)}
    fitting = [one for one in runs if all(getattr(one.run, field) == value for field, value in said.items())]
    return {field: _works_name(names[field], fitting or runs, (field,)) for field in STOOD_IN if field in names}


def _works_name(value: Any, runs: Sequence[Planned], fields: Sequence[str]) -> Any:
    """Return the one name that ``runs`` have in ``fields`` for what was used as ``value`` there, or ``value``: none or many."""
    theirs = {getattr(one, field) for field in fields for one in runs if getattr(one.run, field) == value}
    return theirs.pop() if len(theirs) == 1 else value


def _rows_in_the_works_names(plan: Plan, table: Table) -> pd.DataFrame:
    """Return a table's rows under the names that the work uses, what stood in for what, and the runs' health."""
    frame = with_health_flag(plan, table, items.read_recorded_rows(table.path))
    frame = in_the_works_names(frame, table.runs)
    shared = {"dataset": table.common("dataset"), "architecture": table.common("architecture")}
    return frame.assign(
        **{column: value for column, value in shared.items() if value is not None},
        stand_in=joined_stand_ins([planned.stand_in for planned in table.runs]),
        paper_protocol=_own_protocol(frame, table),
    )


def joined_stand_ins(of_runs: Sequence[str]) -> str:
    """Return the stand-ins of several runs, each said once, with all that it stands in for.

    >>> joined_stand_ins(["a_7 for part 0, net for big", "b_7 for part 1, net for big", "", "a_7 for part 2"])
    'a_7 for part 0 + part 2, net for big, b_7 for part 1'
    """
    stands_for: dict[str, dict[str, None]] = {}
    for pair in (pair for text in of_runs for pair in text.split(", ") if pair):
        ran, _, theirs = pair.partition(" for ")
        stands_for.setdefault(ran, {})[theirs] = None
    return ", ".join(f"{ran} for {' + '.join(theirs)}" for ran, theirs in stands_for.items())
