"""Build resources/fashion_mnist_5k from the official Fashion-MNIST files.

    python resources/build_fashion_mnist_5k.py [DIRECTORY]

DIRECTORY holds ``FashionMNIST/raw/*.gz``, and they are downloaded to it if they are missing; Debian's package
dataset-fashion-mnist is found where it is installed. The subset is the first 5,000 and 1,000 images of
``stratified_order`` of the official training and test set, so 500 and 100 per class, in an order in which every beginning
is balanced. Running it again gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

from robustscape.data.sets import _idx
from robustscape.data.sets.fashion_mnist import FILES, fashion_mnist
from robustscape.data.splits import RawSplits, stratified_subset
from robustscape.storage import atomic

SIZES = {"train": 5000, "test": 1000}


def build(full: RawSplits, target: Path, sizes: dict[str, int]) -> None:
    """Write four idx.gz files and their SHA256SUMS to ``target``."""
    arrays = []
    for part, size in sizes.items():
        x, y = stratified_subset(getattr(full, f"{part}_x"), getattr(full, f"{part}_y"), size, part, len(full.classes))
        arrays += [x[:, 0], y.astype("uint8")]
    sums = []
    for file, array in zip(FILES, arrays, strict=True):
        packed = gzip.compress(_idx.encode_idx(array), compresslevel=9, mtime=0)
        atomic.write_bytes(target / file.name, packed)
        sums.append(f"{hashlib.sha256(packed).hexdigest()}  {file.name}\n")
    atomic.write_text(target / "SHA256SUMS", "".join(sums))


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("downloads")
    build(fashion_mnist(directory), Path(__file__).parent / "fashion_mnist_5k", SIZES)
