"""Caltech-101 (Fei-Fei, Fergus and Perona 2004): photographs of 101 kinds of objects, from the publisher's zip or a folder.

    caltech101/101_ObjectCategories/accordion/image_0001.jpg        31 to 800 per class

The folder is torchvision's; the zip holds a tar archive of it. Its class BACKGROUND_Google is no kind of object and is left out.
There is no official split: 80/20, stratified (ma2025 chapter 4 does not state its own).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustscape.data.archives import unpacked_archive
from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.sets._photographs import image_names, read_photographs
from robustscape.data.splits import RawSplits, hold_out
from robustscape.errors import CorruptFile, UserError

#: Its checksum is that of the publisher's record; there it is at https://data.caltech.edu/records/mzrjq-6wc02.
ARCHIVE = RemoteFile(
    "caltech-101.zip",
    137414764,
    "3138e1922a9193bfa496528edbbc45d0",
    ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
)

FOLDER = "101_ObjectCategories"
MEMBER = f"caltech-101/{FOLDER}.tar.gz"
NO_OBJECT = "BACKGROUND_Google"
CLASSES = 101
IMAGES = 8677


def caltech101(directory: Path) -> RawSplits:
    """8,677 photographs, 3x224x224; 101 classes; 80/20 split of our own (6,941 + 1,736).

    Args:
        directory: holds ``caltech-101.zip``, or the folder ``caltech101/101_ObjectCategories`` that is in it.
    """
    with _object_folder(directory) as folder:
        return _read_objects(folder)


def raw_files(directory: Path) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's zip is read."""
    walk = os.walk(directory / "caltech101" / FOLDER, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


@contextlib.contextmanager
def _object_folder(directory: Path) -> Iterator[Path]:
    """Yield the folder with a folder a class, unpacked for the block if need be."""
    folder = directory / "caltech101" / FOLDER
    if folder.is_dir():
        yield folder
        return
    (path,) = obtain_files("caltech101", [ARCHIVE], directory)
    verify_file(path, ARCHIVE)
    with tempfile.TemporaryDirectory(prefix="robustscape-") as temporary:
        try:
            with zipfile.ZipFile(path) as archive:
                inner = Path(archive.extract(MEMBER, temporary))
        except (zipfile.BadZipFile, KeyError) as error:
            raise CorruptFile(f"'{path}' is not a zip archive with '{MEMBER}': {error}.") from None
        except OSError as error:
            raise UserError(f"cannot unpack '{path}' into '{temporary}' (below $TMPDIR): {error.strerror}.") from error
        with unpacked_archive(inner) as unpacked:
            yield unpacked / FOLDER


def _read_objects(folder: Path) -> RawSplits:
    """Return both splits of a folder with a folder a class."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != NO_OBJECT)
    paths = [image_names(folder / name, ".jpg") for name in names]
    count = sum(map(len, paths))
    if len(names) != CLASSES or count != IMAGES:
        raise CorruptFile(
            f"'{folder}' holds {count:,} images of {len(names)} classes, not {IMAGES:,} of {CLASSES}: the layout of "
            f"{ARCHIVE.name} is expected; unpack it again."
        )
    x = read_photographs([path for own in paths for path in own])
    y = np.repeat(np.arange(len(names), dtype=np.int64), [len(own) for own in paths])
    train, test = hold_out(y, share=0.2)
    return RawSplits(
        train_x=x[train],
        train_y=y[train],
        test_x=x[test],
        test_y=y[test],
        classes=names,
        scale=255.0,
        licence="CC BY 4.0",
        source="https://data.caltech.edu/records/mzrjq-6wc02 (Li, Andreeto, Ranzato and Perona, 2003)",
        official=False,
        note="published as one set; stratified 80/20 split of our own, without the class BACKGROUND_Google; resized to 256 "
        "pixels, the central 224x224.",
    )
