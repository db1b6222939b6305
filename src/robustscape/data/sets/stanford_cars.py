"""Stanford Cars (Krause et al. 2013): photographs of 196 models of cars, from a folder of the user's.

    stanford_cars/cars_train/00001.jpg                       8,144
    stanford_cars/cars_test/00001.jpg                        8,041
    stanford_cars/devkit/cars_train_annos.mat                classes of the training images
    stanford_cars/cars_test_annos_withlabels.mat             classes of the test images (or in devkit/)
    stanford_cars/devkit/cars_meta.mat                       names of the classes

The publisher's page is gone, so nothing is downloaded; the layout is torchvision's. Both splits are in
``splits.stratified_order``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from robustscape.data.sets._photographs import read_photographs
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile, MissingData

FOLDER = "stanford_cars"
CLASSES = 196
IMAGES = {"train": 8144, "test": 8041}


def stanford_cars(directory: Path) -> RawSplits:
    """16,185 photographs, 3x224x224; 196 classes; official split (8,144 + 8,041).

    Args:
        directory: holds the folder ``stanford_cars``.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
        raise MissingData(
            f"Stanford Cars is not in '{folder}', and its publisher's page is gone: put cars_train/, cars_test/ and devkit/ "
            "there."
        )
    test_labels = folder / "cars_test_annos_withlabels.mat"
    labels = {
        "train": folder / "devkit" / "cars_train_annos.mat",
        "test": test_labels if test_labels.exists() else folder / "devkit" / test_labels.name,
    }
    (train_x, train_y), (test_x, test_y) = (_read_part(folder, part, path) for part, path in labels.items())
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=[str(name) for name in _read_matlab(folder / "devkit" / "cars_meta.mat", "class_names")],
        scale=255.0,
        licence="for research; terms of ImageNet",
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (2013; gone), from a folder of the user's",
        official=True,
        note="resized to 256 pixels, the central 224x224.",
    )


def raw_files(directory: Path) -> list[Path]:
    """Return the files of the folder, which nothing else verifies."""
    walk = os.walk(directory / FOLDER, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


def _read_matlab(path: Path, variable: str) -> Any:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path, squeeze_me=True)[variable]
    except (OSError, ValueError, KeyError, NotImplementedError, MatReadError) as error:
        raise CorruptFile(f"'{path}' is not the publisher's list '{variable}': {error}.") from None


def _read_part(folder: Path, part: str, annotations: Path) -> tuple[Array, Array]:
    """Return images and labels of a part, stratified."""
    entries = _read_matlab(annotations, "annotations")
    y = np.array([int(entry["class"]) for entry in entries], dtype=np.int64) - 1
    if len(y) != IMAGES[part] or set(y.tolist()) != set(range(CLASSES)):
        raise CorruptFile(
            f"'{annotations}' names {len(y):,} images of {len(set(y.tolist()))} classes, not {IMAGES[part]:,} of {CLASSES}."
        )
    paths = [folder / f"cars_{part}" / str(entry["fname"]) for entry in entries]
    order = stratified_order(y)
    return read_photographs([paths[place] for place in order]), y[order]
