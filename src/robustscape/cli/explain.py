"""``robustscape explain``: from a number back to the data, by the records behind it; each file is checked against its hash."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from robustscape.cli.options import make_plan, sentence_case
from robustscape.errors import MissingData
from robustscape.storage import records

#: Keys of a record that are shown, in this order, and their names.
_FACTS = (
    ("command", "command"),
    ("check", "check"),
    ("measure", "measurement"),
    ("device", "device"),
    ("precision", "precision of training"),
    ("seconds", "seconds"),
    ("selected_epoch", "epoch kept"),
    ("train_samples", "training samples"),
    ("test_samples", "test samples"),
    ("licence", "licence"),
    ("source", "source"),
    ("note", "note"),
)
_HASHES = (("code", "code"), ("fingerprint", "fingerprint"), ("sha256", "content"), ("data", "data"))
_SYSTEM = ("robustscape", "python", "torch", "numpy", "cpu", "gpu")


def add_explain_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "show how a number was made, from the data on"
    command = commands.add_parser(
        "explain",
        help=text,
        description=f"{sentence_case(text)}: the item, its measurements, their runs and data, with commands and versions; "
        "files that changed since are named.",
    )
    command.add_argument("target", metavar="WORK/ITEM", help="one of `robustscape list items`")
    command.set_defaults(execute=explain_command)


def explain_command(options: argparse.Namespace) -> None:
    """Print the chain behind the item ``options.target``; end with an error if a file in it was edited."""
    plan = make_plan(options)
    work, name = plan.find_target("items", options.target)
    print(explain_item(plan.item_path(work, name).parent, name))
    records.check_chain(plan.item_path(work, name).with_suffix(".json"))


def explain_item(folder: Path, item: str, *, siblings: int = 2) -> str:
    """Return the chain from data to number, as a tree: item, its measurements, their runs, the data sets' cards.

    Args:
        folder: ``results/<scale>/<work>``.
        item: name of the item.
        siblings: how many of a record's inputs of one kind are followed; the others are counted and checked.

    Raises:
        MissingData: the item was not made.
        CorruptFile: its CSV was edited or damaged, or has no record.
    """
    csv = folder / f"{item}.csv"
    if not csv.exists():
        raise MissingData(f"{csv} is not there; make the item first (robustscape item {folder.name}/{item}).")
    from robustscape.report.items import read_recorded_rows

    rows = read_recorded_rows(csv)
    made = rows[rows["n"] > 0]
    lines = [f"{folder.name}/{item}: {len(made)} numbers in {csv}"]
    if len(made):
        first = made.iloc[0]
        place = ", ".join(f"{c}={first[c]}" for c in rows.columns[: list(rows.columns).index("metric") + 1])
        lines.append(f"  the first: {first['value']:.6g} {_unit(first['unit'])}({place}; n = {first['n']})")
    path = csv.with_suffix(".json")
    record = records.read_record(path)
    shown: set[str] = set()
    lines += [f"  {line}" for line in _facts(record, shown)]
    lines += _below(record, path, "  ", siblings, shown)
    return "\n".join(lines)


def _unit(unit: Any) -> str:
    return "" if unit != unit or str(unit) in ("", "1") else f"{str(unit).replace('_', ' ')} "


def _facts(record: dict[str, Any], shown: set[str]) -> list[str]:
    """Return the facts of a record, one per line; of the system only what was not shown further up."""
    lines = [f"{name}: {record[key]}" for key, name in _FACTS if record.get(key) not in (None, "")]
    hashes = [f"{name} {str(record[key])[:12]}" for key, name in _HASHES if isinstance(record.get(key), str)]
    if hashes:
        lines.append(", ".join(hashes))
    system = record.get("environment") or {}
    parts = [f"{key} {system[key]}" for key in _SYSTEM if system.get(key) not in (None, False, "")]
    if commit := system.get("commit"):
        parts.insert(0, f"commit {str(commit)[:12]}{' with uncommitted changes' if system.get('dirty') else ''}")
    new = [part for part in parts if part not in shown]
    shown.update(new)
    return [*lines, *([", ".join(new)] if new else [])]


def _state(given: records.Input) -> str:
    """Return "ok" if a file is still what it was when it was read, else what happened to it."""
    if given.path is None:
        return "MISSING"
    if not given.sha256:
        return "ok"
    return "ok" if records.cached_file_hash(given.path) == given.sha256 else "CHANGED since it was read"


def _below(record: dict[str, Any], path: Path, indent: str, siblings: int, shown: set[str]) -> list[str]:
    """Return lines for the inputs of a record, grouped by what they are; some of them are followed."""
    groups: dict[str, list[tuple[records.Input, Path | None]]] = defaultdict(list)
    for given in records.recorded_inputs(record, path):
        its_record = records.find_record(given.path) if given.path is not None else None
        groups[_kind(its_record)].append((given, its_record))
    lines = []
    for kind, members in groups.items():
        states = [_state(given) for given, _ in members]
        targets = list(dict.fromkeys(target for _, target in members if target is not None))
        follow = targets[:siblings]
        for (given, target), state in zip(members, states, strict=True):
            if target is None or target in follow or state != "ok":
                lines.append(f"{indent}└─ {kind}: {given.name} [{state}]")
                if target in follow:
                    follow.remove(target)
                    lines += _follow(target, indent + "     ", siblings, shown)
        if len(targets) > siblings:
            lines.append(f"{indent}   ... and {len(targets) - siblings} more of this kind, {_summary(states)}")
    return lines


def _follow(target: Path, indent: str, siblings: int, shown: set[str]) -> list[str]:
    place = str(target.resolve())
    if place in shown:
        return [f"{indent}(see above)"]
    shown.add(place)
    record = records.read_record(target)
    if not record:
        return [f"{indent}{target} is missing or damaged"]
    return [*(f"{indent}{line}" for line in _facts(record, shown)), *_below(record, target, indent, siblings, shown)]


def _kind(record: Path | None) -> str:
    if record is None:
        return "file"
    return {"run.json": "run", "card.json": "data set"}.get(record.name, "measurement")


def _summary(states: list[str]) -> str:
    wrong = sum(state != "ok" for state in states)
    return "all files unchanged" if not wrong else f"{wrong} of {len(states)} files changed or missing"
