"""Handwritten digits of 8x8 pixels, inside scikit-learn: the smallest real image set, for tests and quick looks."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.sets import _packaged
from robustscape.data.splits import RawSplits


def digits(directory: Path) -> RawSplits:
    """1,797 digits, 1x8x8, 17 levels; 10 classes; 80/20 split of our own (1,437 + 360).

    The ``load_digits`` of scikit-learn, published without a split (it is the test set of the UCI data). Each value is the
    number of black pixels in a block of 4x4, so the scale is 16.

    Args:
        directory: not used; the data come with scikit-learn.
    """
    values, labels = _packaged.read_packaged_table(
        "sklearn",
        "datasets/data/digits.csv.gz",
        sha256="6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
        install="scikit-learn",
    )
    return _packaged.digits_with_own_split(
        values,
        labels,
        8,
        scale=16.0,
        licence="BSD-3-Clause (scikit-learn); CC BY 4.0 (UCI)",
        source="scikit-learn, load_digits: UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)",
        note="published as one set; stratified 80/20 split of our own.",
    )
