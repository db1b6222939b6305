"""Tiny ImageNet (Stanford CS231n): 200 classes of ImageNet at 64 x 64 pixels, from the publisher's zip or its folder.

    tiny-imagenet-200/wnids.txt                             200 class numbers (WordNet), one per line
    tiny-imagenet-200/words.txt                             number, tab, names
    tiny-imagenet-200/train/n01443537/images/*.JPEG         500 per class
    tiny-imagenet-200/val/images/*.JPEG                     10,000
    tiny-imagenet-200/val/val_annotations.txt               file, number, four coordinates of a box

The labels of the test images were never published: the validation images are the test set, as is usual (kim2023).

The training images come in folders, one per class. They are given in ``splits.stratified_order``, since what is monitored are
the first training images. The validation images are given in the publisher's order, which is shuffled.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile

ARCHIVE = RemoteFile(
    "tiny-imagenet-200.zip",
    248100043,
    "90528d7ca1a48142e341f4ef8d21d0de",
    ("https://cs231n.stanford.edu/tiny-imagenet-200.zip", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"),
)

ROOT = "tiny-imagenet-200"
SIDE = 64
CLASSES = 200
PER_CLASS = 500
TEST = 10_000

Reader = Callable[[str], bytes]


def tiny_imagenet(directory: Path) -> RawSplits:
    """110,000 photographs, 3x64x64; 200 classes; 100,000 for training, the 10,000 validation images for testing.

    Args:
        directory: holds ``tiny-imagenet-200.zip``, or the folder ``tiny-imagenet-200`` that it unpacks to.
    """
    folder = directory / ROOT
    if folder.is_dir():
        return _read_both_splits(str(folder), _files_below(directory), lambda name: (directory / name).read_bytes())
    (path,) = obtain_files("tiny_imagenet", [ARCHIVE], directory)
    verify_file(path, ARCHIVE)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_both_splits(str(path), archive.namelist(), archive.read)
    except zipfile.BadZipFile as error:
        raise CorruptFile(f"'{path}' is not a whole zip archive: {error}.") from None


def raw_files(directory: Path) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's zip is read."""
    return [path for name in _files_below(directory) if not (path := directory / name).name.startswith(".")]


def _files_below(directory: Path) -> list[str]:
    """Return the names of the files of the unpacked folder, seen from ``directory``; links to folders are followed."""
    walk = os.walk(directory / ROOT, followlinks=True)
    return [Path(folder, file).relative_to(directory).as_posix() for folder, _, files in walk for file in files]


def _read_both_splits(where: str, files: Iterable[str], read: Reader) -> RawSplits:
    """Return both splits; ``read`` returns the bytes of a file of ``files``, whose names begin with ``tiny-imagenet-200/``."""
    # Without the files that systems add, such as the ._* of macOS.
    known = {name.removeprefix(f"{ROOT}/") for name in files if not name.rpartition("/")[2].startswith(".")}

    def text(name: str) -> str:
        if name not in known:
            raise CorruptFile(
                f"'{where}' has no file '{name}': the layout of {ARCHIVE.name} is expected; unpack it again."
            )
        return read(f"{ROOT}/{name}").decode()

    numbers = sorted(text("wnids.txt").split())
    if len(numbers) != CLASSES or len(set(numbers)) != CLASSES:
        raise CorruptFile(f"'{where}': wnids.txt lists {len(set(numbers))} classes, not {CLASSES}.")
    label = {number: place for place, number in enumerate(numbers)}
    names = dict(line.split("\t", 1) for line in text("words.txt").splitlines() if "\t" in line)

    train: list[tuple[str, int]] = []
    for number in numbers:
        prefix = f"train/{number}/images/"
        own = sorted(name for name in known if name.startswith(prefix) and name.endswith(".JPEG"))
        if len(own) != PER_CLASS:
            raise CorruptFile(
                f"'{where}': '{prefix}' holds {len(own)} images, not {PER_CLASS}; unpack {ARCHIVE.name} again."
            )
        train += [(name, label[number]) for name in own]
    train = [train[place] for place in stratified_order(np.array([place for _, place in train]))]
    test: list[tuple[str, int]] = []
    for line in filter(str.strip, text("val/val_annotations.txt").splitlines()):
        file, number, *_ = line.split("\t")
        if f"val/images/{file}" not in known or number not in label:
            raise CorruptFile(f"'{where}': val_annotations.txt names '{file}' of class '{number}', which is not there.")
        test.append((f"val/images/{file}", label[number]))
    if len(test) != TEST:
        raise CorruptFile(f"'{where}': val_annotations.txt names {len(test)} images, not {TEST:,}.")

    return RawSplits(
        *_decode_images(where, train, read),
        *_decode_images(where, test, read),
        classes=[names.get(number, number).split(",")[0] for number in numbers],
        scale=255.0,
        licence="for non-commercial research and education (ImageNet's terms)",
        source="https://cs231n.stanford.edu/tiny-imagenet-200.zip (Le and Yang, 2015; ImageNet, 2009)",
        official=True,
        note="the validation images are the test set; the official test set has no labels.",
    )


def _decode_images(where: str, entries: list[tuple[str, int]], read: Reader) -> tuple[Array, Array]:
    """Return pixels uint8 (N, 3, 64, 64) and labels int64 (N,); grey images get three equal channels."""
    x = np.empty((len(entries), 3, SIDE, SIDE), dtype=np.uint8)
    for place, (name, _) in enumerate(entries):
        try:
            image = Image.open(io.BytesIO(read(f"{ROOT}/{name}"))).convert("RGB")
        except OSError as error:
            raise CorruptFile(f"'{where}': '{name}' is not a whole JPEG file: {error}.") from None
        if image.size != (SIDE, SIDE):
            raise CorruptFile(f"'{where}': '{name}' has {image.size[0]}x{image.size[1]} pixels, not {SIDE}x{SIDE}.")
        x[place] = np.asarray(image).transpose(2, 0, 1)
    return x, np.array([label for _, label in entries], dtype=np.int64)
