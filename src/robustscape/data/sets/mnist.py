"""MNIST, whole: four idx files in torchvision's layout."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.download import RemoteFile
from robustscape.data.sets import _idx
from robustscape.data.splits import RawSplits

_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")


def _remote_file(name: str, size: int, md5: str, content_md5: str) -> RemoteFile:
    return RemoteFile(name, size, md5, tuple(mirror + name for mirror in _MIRRORS), content_md5)


#: Names, checksums and mirrors as in torchvision 0.26.
FILES = (
    _remote_file(
        "train-images-idx3-ubyte.gz", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"
    ),
    _remote_file(
        "train-labels-idx1-ubyte.gz", 28881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"
    ),
    _remote_file(
        "t10k-images-idx3-ubyte.gz", 1648877, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"
    ),
    _remote_file(
        "t10k-labels-idx1-ubyte.gz", 4542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"
    ),
)


def mnist(directory: Path) -> RawSplits:
    """70,000 digits, 1x28x28; 10 classes; official split (60,000 + 10,000).

    Args:
        directory: holds ``MNIST/raw/*-ubyte.gz`` (or the decompressed files), as torchvision stores them.
    """
    train_x, train_y, test_x, test_y = _idx.read_idx_files("mnist", FILES, [directory / "MNIST" / "raw"])
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=[str(digit) for digit in range(10)],
        scale=255.0,
        licence="CC BY-SA 3.0",
        source="MNIST (LeCun, Cortes and Burges, 1998)",
        official=True,
    )
