"""5,000 + 1,000 images of Fashion-MNIST that come with this project: a second real image set without a download."""

from __future__ import annotations

import hashlib
from pathlib import Path

from robustscape.data.sets import _idx
from robustscape.data.sets.fashion_mnist import CLASSES, FILES
from robustscape.data.splits import Array, RawSplits
from robustscape.errors import CorruptFile, MissingData

#: In the project's folder, beside the configuration; built by resources/build_fashion_mnist_5k.py.
FOLDER = Path(__file__).parents[4] / "resources" / "fashion_mnist_5k"


def fashion_mnist5k(directory: Path) -> RawSplits:
    """6,000 pieces of clothing, 1x28x28, 500 + 100 per class; 10 classes; from the official training and test sets.

    Args:
        directory: not used; the data come with the project, in ``resources/fashion_mnist_5k``.
    """
    train_x, train_y, test_x, test_y = _read_shipped_arrays(FOLDER)
    return RawSplits(
        train_x[:, None],
        train_y.astype("int64"),
        test_x[:, None],
        test_y.astype("int64"),
        classes=CLASSES,
        scale=255.0,
        licence="MIT, Zalando SE",
        source="resources/fashion_mnist_5k, from https://github.com/zalandoresearch/fashion-mnist",
        official=False,
        note="5,000 of the 60,000 official training images and 1,000 of the 10,000 test images, stratified.",
    )


def _read_shipped_arrays(folder: Path) -> list[Array]:
    """Return the four arrays, verified by the file SHA256SUMS beside them."""
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        sums = {name: sha256 for sha256, name in (line.split() for line in lines)}
        packed = {file.name: (folder / file.name).read_bytes() for file in FILES}
    except FileNotFoundError as error:
        raise MissingData(
            f"'{error.filename}' is missing: it is part of the project's repository; restore it, or build it with"
            " resources/build_fashion_mnist_5k.py."
        ) from None
    except ValueError:
        raise CorruptFile(f"'{folder / 'SHA256SUMS'}' is not a list of checksums; restore it.") from None
    for name, data in packed.items():
        if hashlib.sha256(data).hexdigest() != sums.get(name):
            raise CorruptFile(
                f"'{folder / name}' is not the file SHA256SUMS describes; restore it from the repository."
            )
    return [_idx.decode_idx(_idx.decompressed_content(folder / name)) for name in packed]
