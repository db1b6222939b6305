"""Food-101 (Bossard et al. 2014): photographs of 101 dishes, from the publisher's archive or its folder.

    food-101/images/apple_pie/*.jpg      1,000 per class
    food-101/meta/train.json, test.json  750 and 250 of them: class -> names without .jpg

Both splits are in ``splits.stratified_order``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustscape.data.archives import unpacked_archive
from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.sets._photographs import read_photographs
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile

#: Checksum as in torchvision 0.26.
ARCHIVE = RemoteFile(
    "food-101.tar.gz",
    4996278331,
    "85eeb15f3717b99a5da872d97d918f87",
    ("https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
)

FOLDER = "food-101"
CLASSES = 101
IMAGES = {"train": 750, "test": 250}


def food101(directory: Path) -> RawSplits:
    """101,000 photographs, 3x224x224; 101 classes; official split (75,750 + 25,250).

    Args:
        directory: holds ``food-101.tar.gz``, or the folder ``food-101`` that it unpacks to.
    """
    with _unpacked_folder(directory) as folder:
        parts = {part: _named_images(folder, part) for part in IMAGES}
        (train_x, train_y), (test_x, test_y) = (_read_part(folder, named) for named in parts.values())
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=list(parts["train"]),
        scale=255.0,
        licence="images of foodspotting.com, for scientific use",
        source="https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
        official=True,
        note="resized to 256 pixels, the central 224x224; labels of the training set are partly wrong, as published.",
    )


def raw_files(directory: Path) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's archive is read."""
    walk = os.walk(directory / FOLDER, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


@contextlib.contextmanager
def _unpacked_folder(directory: Path) -> Iterator[Path]:
    """Yield the folder, unpacked for the block if need be."""
    if (directory / FOLDER).is_dir():
        yield directory / FOLDER
        return
    (path,) = obtain_files("food101", [ARCHIVE], directory)
    verify_file(path, ARCHIVE)
    with unpacked_archive(path) as unpacked:
        yield unpacked / FOLDER


def _named_images(folder: Path, part: str) -> dict[str, list[str]]:
    """Return class -> names of its images in a part, sorted.

    Raises:
        CorruptFile: the list is not there, or is another.
    """
    path = folder / "meta" / f"{part}.json"
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"'{path}' is not the list of images of Food-101: {error}.") from None
    if len(named) != CLASSES or {len(names) for names in named.values()} != {IMAGES[part]}:
        raise CorruptFile(
            f"'{path}' does not list {IMAGES[part]} images of each of {CLASSES} classes; unpack it again."
        )
    return {name: sorted(named[name]) for name in sorted(named)}


def _read_part(folder: Path, named: dict[str, list[str]]) -> tuple[Array, Array]:
    """Return images and labels of a part, stratified."""
    y = np.repeat(np.arange(len(named), dtype=np.int64), [len(names) for names in named.values()])
    paths = [folder / "images" / f"{name}.jpg" for names in named.values() for name in names]
    order = stratified_order(y)
    return read_photographs([paths[place] for place in order]), y[order]
