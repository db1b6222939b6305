"""Data that come inside an installed Python package, read without importing it (scikit-learn takes 1.5 s to import)."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from robustscape.data.splits import Array
from robustscape.errors import CorruptFile, MissingData


def read_packaged_table(package: str, member: str, sha256: str, install: str) -> tuple[Array, Array]:
    """Values, uint8 (N, D), and labels, int64 (N,), of a gzipped table of integers whose last column is the label.

    Args:
        package: name by which it is imported.
        member: path of the table inside it.
        sha256: of the decompressed table.
        install: the requirement that brings it.

    Raises:
        MissingData: the package, or the table in it, is not installed.
        CorruptFile: the table is not the one that is meant.
    """
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or ()) if found else []
    path = next((Path(folder) / member for folder in folders if (Path(folder) / member).exists()), None)
    if path is None:
        raise MissingData(
            f"these data come with the Python package {install}, which is not installed: pip install '{install}'."
        )
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"'{path}' is not a whole gzip file: {error}; reinstall {install}.") from None
    if hashlib.sha256(text).hexdigest() != sha256:
        raise CorruptFile(f"'{path}' does not hold the data this program knows; install {install}.")
    table = np.loadtxt(text.decode("ascii").splitlines(), dtype=np.uint8, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
