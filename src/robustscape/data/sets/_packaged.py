"""Data inside an installed Python package, read without importing the package (importing scikit-learn takes 1.5 s)."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from robustscape.data.splits import Array, RawSplits, hold_out
from robustscape.errors import CorruptFile, MissingData


def read_packaged_table(package: str, member: str, sha256: str, install: str) -> tuple[Array, Array]:
    """Return values, uint8 (N, D), and labels, int64 (N,), of a gzipped table of integers whose last column is the label.

    Args:
        package: name by which the package is imported.
        member: path of the table inside the package.
        sha256: SHA-256 of the decompressed table.
        install: name by which the package is installed.

    Raises:
        MissingData: the package, or the table in it, is not installed.
        CorruptFile: the table has another SHA-256.
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
        raise CorruptFile(f"'{path}' does not hold the expected data (its SHA-256 differs); reinstall {install}.")
    table = np.loadtxt(text.decode("ascii").splitlines(), dtype=np.uint8, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)


def digits_with_own_split(
    values: Array, labels: Array, side: int, *, scale: float, licence: str, source: str, note: str
) -> RawSplits:
    """Return digits that were published without a split as stratified training (80 %) and test (20 %) sets.

    Args:
        values: pixels, uint8 (N, side * side).
        labels: digits, int64 (N,).
        side: height and width of an image in pixels.
        scale: divisor that brings pixels to [0, 1].
        licence: licence of the data.
        source: who published them.
        note: what the reader of a result must know, the split included.
    """
    x = values.reshape(-1, 1, side, side)
    train, test = hold_out(labels, share=0.2)
    return RawSplits(
        train_x=x[train],
        train_y=labels[train],
        test_x=x[test],
        test_y=labels[test],
        classes=[str(digit) for digit in range(10)],
        scale=scale,
        licence=licence,
        source=source,
        official=False,
        note=note,
    )
