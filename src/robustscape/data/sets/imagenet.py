"""ImageNet, ILSVRC 2012 (Russakovsky et al. 2015): photographs of 1000 kinds of things, from a folder of the user's.

    imagenet/train/n01440764/*.JPEG      732 to 1,300 per class
    imagenet/val/n01440764/*.JPEG        50 per class

The publisher gives the images to those who accept its terms, so nothing is downloaded. The validation set is the test set
here, as in the work: the labels of the official test set are not public. Both splits are in ``splits.stratified_order``.
Prepared images take 150,528 bytes each, all 1,331,167 of them 200 GB; ``per_class`` takes the first ones of every class alone.

The images are counted and not hashed: to read 150 GB whenever the workflow is planned would take half an hour. The prepared data
have a hash, which every result carries; to prepare a changed folder anew, delete them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robustscape.data.sets._photographs import image_names, read_photographs
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile, MissingData

FOLDER = "imagenet"
PARTS = {"train": 1281167, "val": 50000}
CLASSES = 1000


def imagenet(directory: Path, *, per_class: Annotated[int, Field(ge=1)] | None = None) -> RawSplits:
    """1,331,167 photographs, 3x224x224; 1000 classes; official split (1,281,167 + 50,000), validation as test.

    Args:
        directory: holds the folder ``imagenet`` with ``train`` and ``val``.
        per_class: training images of each class, the first by name; None: all.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
        raise MissingData(
            f"ImageNet is not in '{folder}': the publisher gives it to those who accept its terms (https://image-net.org); put "
            "train/ and val/ there, each with a folder a class."
        )
    (train_x, train_y), (test_x, test_y) = _read_part(folder, "train", per_class), _read_part(folder, "val", None)
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=_class_names(folder, "train"),
        scale=255.0,
        licence="terms of access of ImageNet: research and education, no redistribution",
        source="https://image-net.org (ILSVRC 2012), from a folder of the user's",
        official=per_class is None,
        note="the validation set is the test set; resized to 256 pixels, the central 224x224"
        + (f"; the first {per_class} training images of each class" if per_class else ""),
    )


def _class_names(folder: Path, part: str) -> list[str]:
    return sorted(path.name for path in (folder / part).iterdir() if path.is_dir())


def _read_part(folder: Path, part: str, most: int | None) -> tuple[Array, Array]:
    """Return images and labels of a part, stratified, at most ``most`` of a class."""
    names = _class_names(folder, part) if (folder / part).is_dir() else []
    paths = [image_names(folder / part / name, ".JPEG") for name in names]
    count = sum(map(len, paths))
    if len(names) != CLASSES or count != PARTS[part]:
        raise CorruptFile(
            f"'{folder / part}' holds {count:,} images of {len(names)} classes, not {PARTS[part]:,} of {CLASSES}; unpack the "
            "publisher's archives again, one folder a class."
        )
    chosen = [own[:most] for own in paths]
    y = np.repeat(np.arange(len(names), dtype=np.int64), [len(own) for own in chosen])
    order = stratified_order(y)
    flat = [path for own in chosen for path in own]
    return read_photographs([flat[place] for place in order]), y[order]
