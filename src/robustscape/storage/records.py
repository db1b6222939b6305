"""Records: the JSON beside every result that says what it was made from. The only module that reads, checks and follows them.

The record of an item, measurement, comparison or theory check is ``<name>.json`` beside its CSV; the record of a run is
``run.json`` and that of a data set ``card.json``, in their folders. ``inputs`` lists the files that were read, with their hashes;
a run names its data set's card. A result is up to date when its record carries the wanted fingerprint, and the files are still
those that the record vouches for. Imports no torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustscape.errors import CorruptFile
from robustscape.storage import atomic
from robustscape.storage.provenance import environment, file_hash

#: Records that lie in the folder of what they describe under a name of their own.
_OWN_NAMES = ("run.json", "card.json")


@dataclass(frozen=True)
class Input:
    """A file that a record names: as written, where it is (None if it is gone), and its hash when it was read."""

    name: str
    path: Path | None
    sha256: str


# -- reading and writing -----------------------------------------------------------------------------------------------


def read_record(path: Path) -> dict[str, Any]:
    """Return the content of a record; empty if the file is missing or is not a JSON object, so that it is made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def hash_files(paths: Iterable[Path]) -> list[dict[str, str]]:
    """Return the path and SHA-256 of each file, as the ``inputs`` and ``outputs`` of a record list them."""
    return [{"path": str(path), "sha256": file_hash(path)} for path in paths]


def write_csv_with_record(csv: Path, text: str, record: dict[str, Any]) -> None:
    """Write a CSV and, after it, the record that vouches for it."""
    atomic.write_text(csv, text)
    atomic.write_json(csv.with_suffix(".json"), {**record, "output": file_hash(csv), "environment": environment()})


def check_recorded(path: Path) -> Path:
    """Return ``path``, of a file whose record vouches for it: every reader of a result calls this first.

    Raises:
        CorruptFile: it has no record, or is not the file that the record was written for: it was edited, damaged or exchanged.
    """
    record_path = find_record(path)
    record = read_record(record_path) if record_path else {}
    if record_path is None or not record:
        raise CorruptFile(f"{path} has no record beside it that says what made it; delete it and make it again.")
    command = record.get("command")
    again = f"`{command}` makes it again" if command else "delete it and make it again"
    if not path.exists():
        raise CorruptFile(f"{path} is gone, which {record_path.name} was written for; {again}.")
    if _recorded_hash(record, path.name) != file_hash(path):
        raise CorruptFile(
            f"{path} is not the file that {record_path.name} was written for (edited or damaged?); {again}."
        )
    return path


def check_chain(record_path: Path) -> None:
    """Refuse the first file behind a result, at whatever distance, that is gone or that its record does not vouch for.

    Args:
        record_path: of an item, in the folder of its work.

    Raises:
        CorruptFile: as ``check_recorded``.
    """
    for path, record in reachable_records(record_path):
        for given in recorded_inputs(record, path):
            if given.path is None:
                again = f"`robustscape run {record_path.parent.name}` makes it again"
                raise CorruptFile(f"{given.name} is gone, which `{record.get('command')}` has read; {again}.")
        named = [entry["path"] for entry in record.get("outputs", [])] or record.get("files", {})
        files = [path.with_name(Path(str(name)).name) for name in named]
        for file in files or ([path.with_suffix(".csv")] if "output" in record else []):
            check_recorded(file)


def _recorded_hash(record: dict[str, Any], name: str) -> str | None:
    """Return the hash of a file in the record of what it belongs to: a table, an item's files, or the files of a run."""
    if isinstance(output := record.get("output"), str):
        return output
    listed = {Path(str(entry["path"])).name: entry["sha256"] for entry in record.get("outputs", [])}
    found = {**record.get("files", {}), **listed}.get(name)
    return None if found is None else str(found)


def csv_is_current(csv: Path, fingerprint: str) -> bool:
    """Return True if the CSV's record has this fingerprint, and the CSV is the one that the record was written for."""
    record = read_record(csv.with_suffix(".json"))
    return record.get("fingerprint") == fingerprint and csv.exists() and record.get("output") == file_hash(csv)


def item_is_current(record_path: Path, files: list[Path], fingerprint: str) -> bool:
    """Return True if an item's record has this fingerprint, and its files are those that the record lists."""
    record = read_record(record_path)
    return (
        record.get("fingerprint") == fingerprint
        and all(path.exists() for path in files)
        and record.get("outputs") == hash_files(files)
    )


def run_is_current(folder: Path, fingerprint: str) -> bool:
    """Return True if the record of the run in ``folder`` has this fingerprint, and all files it lists are unchanged."""
    record = read_record(folder / "run.json")
    files = record.get("files", {})
    return (
        record.get("fingerprint") == fingerprint
        and bool(files)
        and all((folder / name).exists() and file_hash(folder / name) == sha256 for name, sha256 in files.items())
    )


# -- following ---------------------------------------------------------------------------------------------------------


def find_record(file: Path) -> Path | None:
    """Return the path of a result's record, None if it has none.

    It is ``run.json`` for every file of a run, ``m.json`` for ``m.csv``, and a record's own path for a record.
    """
    for name in _OWN_NAMES:
        if file.with_name(name).exists():
            return file.with_name(name)
    if file.suffix == ".json":
        return file
    beside = file.with_suffix(".json")
    return beside if beside.exists() else None


def recorded_inputs(record: dict[str, Any], near: Path) -> list[Input]:
    """Return the files that a result was made from, a run's data card among them.

    Args:
        record: content of a record.
        near: path of the record; results may have been moved or copied, so files are also looked for from the folders above it.
    """
    found = [
        Input(str(i["path"]), _locate(str(i["path"]), near), str(i.get("sha256", ""))) for i in record.get("inputs", [])
    ]
    if card := record.get("data_card"):
        found.append(Input(str(card), _locate(str(card), near), ""))
    return found


def _locate(name: str, near: Path) -> Path | None:
    """Return where a recorded path is: seen from the working directory, or from a folder above ``near``."""
    path = Path(name)
    if path.is_absolute():
        return path if path.exists() else None
    for folder in (Path(), *near.parents):
        if (folder / path).exists():
            return folder / path
    return None


def reachable_records(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every record that can be reached from the one at ``path``, itself first, each once."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current.resolve() in seen:
            continue
        seen.add(current.resolve())
        record = read_record(current)
        if not record:
            continue
        yield current, record
        inputs = recorded_inputs(record, current)
        waiting += [r for i in inputs if i.path is not None and (r := find_record(i.path)) is not None]


def total_seconds(paths: list[Path]) -> float:
    """Return the time (s) spent on everything behind some records; what they share is counted once."""
    found = {p.resolve(): _own_seconds(r) for path in paths for p, r in reachable_records(path)}
    return sum(found.values())


def _own_seconds(record: dict[str, Any]) -> float:
    value = record.get("seconds", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


@functools.cache
def cached_file_hash(path: Path) -> str:
    """Return the SHA-256 of a file; each file is read once per process."""
    return file_hash(path)
