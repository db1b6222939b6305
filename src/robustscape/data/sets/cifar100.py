"""CIFAR-100, from the publisher's binary version."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.download import RemoteFile
from robustscape.data.sets import _cifar
from robustscape.data.splits import RawSplits

ARCHIVE = RemoteFile(
    "cifar-100-binary.tar.gz",
    168513733,
    "03b5dce01913d631647c71ecec9e9cb8",
    ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
)


def cifar100(directory: Path) -> RawSplits:
    """60,000 photographs, 3x32x32; 100 (fine) classes; official split (50,000 + 10,000).

    Args:
        directory: holds ``cifar-100-binary.tar.gz``. The python version, torchvision's, is pickled and not read.
    """
    inside = "cifar-100-binary"
    return _cifar.read_cifar(
        "cifar100",
        ARCHIVE,
        directory,
        train=[f"{inside}/train.bin"],
        test=f"{inside}/test.bin",
        names=f"{inside}/fine_label_names.txt",
        labels=2,
    )
