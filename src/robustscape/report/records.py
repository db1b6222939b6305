"""Sidecars: the JSON beside every result that says what it was made from, and how to follow it to the data.

An item's, measurement's or theory check's record is ``<name>.json`` beside its CSV; a run's is ``run.json`` and a data
set's ``card.json`` in their folders. ``inputs`` lists files with their hashes; a run names its data set's card.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Files whose record lies in the same folder under a name of its own.
_OWN_NAMES = ("run.json", "card.json")


@dataclass(frozen=True)
class Input:
    """A file that a record names: as written, where it is (None if it is gone), and its hash when it was read."""

    name: str
    path: Path | None
    sha256: str


def load(path: Path) -> dict[str, Any] | None:
    """A record; None if it is missing or not a JSON object."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def of(file: Path) -> Path | None:
    """The record of a result, if it has one: ``model.safetensors`` -> ``run.json``, ``m.csv`` -> ``m.json``."""
    if file.suffix == ".json":
        return file
    for name in _OWN_NAMES:
        if file.with_name(name).exists():
            return file.with_name(name)
    beside = file.with_suffix(".json")
    return beside if beside.exists() else None


def locate(name: str, near: Path) -> Path | None:
    """Where a recorded path is: from here, or from a folder above ``near`` (results may have been moved or copied)."""
    path = Path(name)
    if path.is_absolute():
        return path if path.exists() else None
    for folder in (Path(), *near.parents):
        if (folder / path).exists():
            return folder / path
    return None


def inputs(record: dict[str, Any], near: Path) -> list[Input]:
    """The files a record was made from, a run's data card among them."""
    found = [
        Input(str(i["path"]), locate(str(i["path"]), near), str(i.get("sha256", ""))) for i in record.get("inputs", [])
    ]
    if card := record.get("data_card"):
        found.append(Input(str(card), locate(str(card), near), ""))
    return found


def reached(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every record that can be reached from one, itself first, each once."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current.resolve() in seen:
            continue
        seen.add(current.resolve())
        record = load(current)
        if record is None:
            continue
        yield current, record
        waiting += [r for i in inputs(record, current) if i.path is not None and (r := of(i.path)) is not None]


def seconds(paths: list[Path]) -> float:
    """Time that everything behind some records took, what they share counted once."""
    found = {p.resolve(): _seconds(r) for path in paths for p, r in reached(path)}
    return sum(found.values())


def _seconds(record: dict[str, Any]) -> float:
    value = record.get("seconds", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


@functools.cache
def digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    from robustscape.storage.provenance import file_hash

    return file_hash(path)
