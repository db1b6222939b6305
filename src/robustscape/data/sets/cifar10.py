"""CIFAR-10, from the publisher's binary version."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.download import RemoteFile
from robustscape.data.sets import _cifar
from robustscape.data.splits import RawSplits

ARCHIVE = RemoteFile(
    "cifar-10-binary.tar.gz",
    170052171,
    "c32a1d4ab5d03f1284b67883e8d87530",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)


def cifar10(directory: Path) -> RawSplits:
    """60,000 photographs, 3x32x32; 10 classes; official split (50,000 + 10,000).

    Args:
        directory: holds ``cifar-10-binary.tar.gz``. The python version, torchvision's, is pickled and not read.
    """
    inside = "cifar-10-batches-bin"
    return _cifar.read_cifar(
        "cifar10",
        ARCHIVE,
        directory,
        train=[f"{inside}/data_batch_{number}.bin" for number in range(1, 6)],
        test=f"{inside}/test_batch.bin",
        names=f"{inside}/batches.meta.txt",
        labels=1,
    )
