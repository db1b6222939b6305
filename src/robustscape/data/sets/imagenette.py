"""Imagenette, version 2 (fast.ai): ten easily told classes of ImageNet, from the publisher's archive or its folder.

    imagenette2/train/n01440764/*.JPEG      858 to 993 per class
    imagenette2/val/n01440764/*.JPEG        357 to 419 per class

The folders sort the images by class, so both splits are given in ``splits.stratified_order``: what is monitored and attacked are
the first images.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustscape.data.archives import unpacked_archive
from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.sets._photographs import image_names, read_photographs
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile

#: The full-size images; checksum as in torchvision 0.26.
ARCHIVE = RemoteFile(
    "imagenette2.tgz",
    1557161267,
    "fe2fc210e6bb7c5664d602c3cd71e612",
    ("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",),
)

FOLDER = "imagenette2"

#: Numbers (WordNet) and names.
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
IMAGES = {"train": 9469, "val": 3925}


def imagenette(directory: Path) -> RawSplits:
    """13,394 photographs, 3x224x224; 10 classes; official split (9,469 + 3,925).

    Args:
        directory: holds ``imagenette2.tgz``, or the folder ``imagenette2`` that it unpacks to.
    """
    with _split_folder(directory) as folder:
        (train_x, train_y), (test_x, test_y) = (_read_part(folder, part) for part in IMAGES)
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=list(CLASSES.values()),
        scale=255.0,
        licence="for non-commercial research and education (ImageNet's terms)",
        source="https://github.com/fastai/imagenette, imagenette2.tgz (ImageNet, 2009)",
        official=True,
        note="resized to 256 pixels, the central 224x224.",
    )


def raw_files(directory: Path) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's archive is read."""
    walk = os.walk(directory / FOLDER, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


@contextlib.contextmanager
def _split_folder(directory: Path) -> Iterator[Path]:
    """Yield the folder with ``train`` and ``val``, unpacked for the block if need be."""
    folder = directory / FOLDER
    if folder.is_dir():
        yield folder
        return
    (path,) = obtain_files("imagenette", [ARCHIVE], directory)
    verify_file(path, ARCHIVE)
    with unpacked_archive(path) as unpacked:
        yield unpacked / FOLDER


def _read_part(folder: Path, part: str) -> tuple[Array, Array]:
    """Return pixels uint8 (N, 3, 224, 224) and labels int64 (N,) of ``train`` or ``val``."""
    absent = [number for number in CLASSES if not (folder / part / number).is_dir()]
    paths = [] if absent else [image_names(folder / part / number, ".JPEG") for number in CLASSES]
    count = sum(map(len, paths))
    if count != IMAGES[part]:
        lacks = f"lacks the folder '{part}/{absent[0]}'" if absent else f"holds {count:,} images in '{part}'"
        raise CorruptFile(
            f"'{folder}' {lacks}, and should hold {IMAGES[part]:,} there: the layout of {ARCHIVE.name} is expected; unpack it "
            "again."
        )
    y = np.repeat(np.arange(len(CLASSES), dtype=np.int64), [len(own) for own in paths])
    order = stratified_order(y)
    flat = [path for own in paths for path in own]
    return read_photographs([flat[place] for place in order]), y[order]
