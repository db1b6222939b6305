"""Handwritten digits of 8x8 pixels, inside scikit-learn: the smallest real image set, for tests and quick looks."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.sets import _packaged
from robustscape.data.splits import RawSplits, hold_out


def digits(directory: Path) -> RawSplits:
    """1,797 digits, 1x8x8, 17 levels; 10 classes; 80/20 split of our own (1,437 + 360).

    The ``load_digits`` of scikit-learn, which was published in one piece (it is the test set of the UCI data). Each
    value counts the black pixels in a block of 4x4, so the scale is 16.

    Args:
        directory: not read; the data come with scikit-learn.
    """
    values, labels = _packaged.read_packaged_table(
        "sklearn",
        "datasets/data/digits.csv.gz",
        sha256="6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
        install="scikit-learn",
    )
    x = values.reshape(-1, 1, 8, 8)
    train, test = hold_out(labels, share=0.2)
    return RawSplits(
        train_x=x[train],
        train_y=labels[train],
        test_x=x[test],
        test_y=labels[test],
        classes=[str(digit) for digit in range(10)],
        scale=16.0,
        licence="BSD-3-Clause (scikit-learn); CC BY 4.0 (UCI)",
        source="scikit-learn, load_digits: UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)",
        official=False,
        note="published as one set; stratified 80/20 split of our own.",
    )
