"""The binary version of the CIFAR data sets: records of one or two label bytes and 3 x 32 x 32 pixel bytes.

The python version, which torchvision reads, is pickled, and nothing here is unpickled. The binary archive is verified
by the MD5 stated by its publisher (https://www.cs.toronto.edu/~kriz/cifar.html), so its members need no checksums.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustscape.data.archives import unpacked_archive
from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.splits import Array, RawSplits
from robustscape.errors import CorruptFile

_SHAPE = (3, 32, 32)


def read_cifar(
    dataset: str, archive: RemoteFile, directory: Path, train: Sequence[str], test: str, names: str, labels: int
) -> RawSplits:
    """Return both splits of an archive.

    Args:
        dataset: name of the data set, for errors.
        archive: the publisher's file.
        directory: where it is, or is downloaded to.
        train: members with training images, in order.
        test: member with test images.
        names: member with the names of the classes, one per line.
        labels: number of label bytes per record; the last one is the class.

    Raises:
        MissingData: the archive is missing and cannot be downloaded.
        CorruptFile: it is not the publisher's, or lacks a member.
    """
    (path,) = obtain_files(dataset, [archive], directory)
    verify_file(path, archive)
    with unpacked_archive(path) as folder:
        try:
            parts = [_records(folder / member, labels) for member in (*train, test)]
            classes = (folder / names).read_text(encoding="utf-8").split()
        except FileNotFoundError as error:
            raise CorruptFile(f"'{path}' has no member '{Path(error.filename).relative_to(folder)}'.") from None
    x, y = zip(*parts, strict=True)
    return RawSplits(
        train_x=np.concatenate(x[:-1]),
        train_y=np.concatenate(y[:-1]),
        test_x=x[-1],
        test_y=y[-1],
        classes=classes,
        scale=255.0,
        licence="none stated; cite Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
        source=f"https://www.cs.toronto.edu/~kriz/cifar.html, {archive.name}",
        official=True,
    )


def _records(path: Path, labels: int) -> tuple[Array, Array]:
    """Return images uint8 (N, 3, 32, 32) and classes int64 (N,) of a binary file."""
    size = labels + int(np.prod(_SHAPE))
    values = np.fromfile(path, dtype=np.uint8)
    if not len(values) or len(values) % size:
        raise CorruptFile(
            f"'{path.name}' has {len(values):,} bytes, which is not a whole number of records of {size} bytes."
        )
    records = values.reshape(-1, size)
    return records[:, labels:].reshape(-1, *_SHAPE), records[:, labels - 1].astype(np.int64)
