"""The files that a data set is made of, where it declares them: what is in them is part of its fingerprint.

A module of ``data/sets/`` may define, beside its function, ``raw_files`` with the same arguments, which returns the paths of all
files that the function would read. It is called whenever the workflow is planned, so it must be quick. Data sets that verify
what they read against a hash in their code, as those of this package do, need not declare it. Imports no torch.
"""

from __future__ import annotations

import functools
from pathlib import Path

from robustscape import catalog
from robustscape.config.datasets import DatasetEntry
from robustscape.errors import UserError
from robustscape.storage.provenance import file_hash


def hash_raw_files(entry: DatasetEntry, downloads: Path) -> list[list[str]]:
    """Return name and SHA-256 of every file that a data set declares, in the order of names; empty if it declares none.

    Args:
        entry: of ``config/datasets.yaml``.
        downloads: the folder that the data set's function gets.

    Raises:
        UserError: ``raw_files`` fails.
    """
    found = catalog.find_entry("dataset", entry.dataset)
    if not found.declares_files:
        return []
    try:
        paths = {Path(path) for path in found.load_raw_files()(downloads, **entry.parameters)}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{found.path}: raw_files fails: {type(error).__name__}: {error}") from error
    return sorted([_shown(path, downloads), _content(path)] for path in paths)


def _shown(path: Path, downloads: Path) -> str:
    """The path below the folder of downloads, so that a project that moves is not made again."""
    return path.relative_to(downloads).as_posix() if path.is_relative_to(downloads) else path.as_posix()


def _content(path: Path) -> str:
    """The hash of a file, read again only if its size or time has changed since this process last did; "" without the file."""
    if not path.is_file():
        return ""
    state = path.stat()
    return _hash(path, state.st_size, state.st_mtime_ns)


@functools.cache
def _hash(path: Path, size: int, modified: int) -> str:
    return file_hash(path)
