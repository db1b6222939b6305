"""Samples from anywhere: a folder of images, an .npz, a .csv; as float32 inputs in [0, 1] and labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.evaluation.harness.inputs import check_labels

#: Endings of files that are read as images.
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

#: Names of the column of a CSV that holds labels.
LABELS = ("y", "label", "labels", "target", "class")


@dataclass(frozen=True)
class Samples:
    """Inputs, labels, and where they come from."""

    x: Tensor
    """float32, (N, ...)."""
    y: Tensor
    """int64, (N,)."""
    source: str
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ..., if they have any."""
    notes: tuple[str, ...] = field(default=())
    """What was done to the values."""


def read_samples(path: str | Path, limit: int | None = None) -> Samples:
    """Return the samples of a folder of images, an .npz or a .csv.

    Args:
        path: a folder with a folder of images for each class (the layout of torchvision's ImageFolder, classes in the order of
            their names); an .npz with ``x`` and ``y``; a .csv whose column ``y`` or ``label`` holds the class, and all others the
            input.
        limit: the first samples of a file; of a folder as many of each class as possible; None: all.

    Raises:
        MissingData: there is no such file or folder, or nothing in it.
        UserError: its content is not as described.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, limit)
    if not path.exists():
        raise MissingData(f"there is no file or folder '{path}'.")
    if path.suffix == ".npz":
        return _read_npz(path, limit)
    if path.suffix == ".csv":
        return _read_csv(path, limit)
    raise UserError(f"'{path}' is neither a folder of images nor an .npz or .csv file.")


def _read_folder(folder: Path, limit: int | None) -> Samples:
    """A folder for each class; hidden files, such as the ``._*`` of macOS, are passed over, links are followed."""
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise MissingData(f"'{folder}' has no folder for each class, such as '{folder}/cat/1.png'.")
    files = [
        sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in IMAGES and not p.name.startswith("."))
        for name in names
    ]
    rounds = max(map(len, files))
    order = [(label, row) for row in range(rounds) for label in range(len(names)) if row < len(files[label])]
    if not order:
        raise MissingData(f"'{folder}' has folders of classes, but no image in them ({', '.join(IMAGES)}).")
    chosen = sorted(order[:limit])
    arrays = [_read_image(files[label][row]) for label, row in chosen]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        shown = " and ".join(f"{height}x{width}, {channels} channels" for channels, height, width in sorted(sizes)[:2])
        raise UserError(f"the images of '{folder}' must have one size and number of channels, got {shown}.")
    empty = [name for name, found in zip(names, files, strict=True) if not found]
    notes = ["values divided by 255", *([f"no image of class {', '.join(empty)}"] if empty else [])]
    labels = torch.tensor([label for label, _ in chosen])
    return Samples(torch.from_numpy(np.stack(arrays)), labels, str(folder), tuple(names), tuple(notes))


def _read_image(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """An image as float32 in [0, 1], (C, H, W): one channel if it is grey, else red, green and blue."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits of grey
                levels, most = np.asarray(image, dtype=np.float64)[None], 65535.0
            else:
                grey = image.mode in ("1", "L", "LA")
                levels, most = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float64), 255.0
                levels = levels[None] if grey else levels.transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError) as error:
        raise CorruptFile(f"'{path}' is not an image, or damaged: {error}.") from None
    return (levels / most).astype(np.float32)


def _read_npz(path: Path, limit: int | None) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as content:
            found = {name: content[name] for name in content.files if name in ("x", "y")}
            names = content.files
    except (ValueError, OSError, EOFError) as error:
        raise CorruptFile(f"'{path}' is not an .npz of plain arrays, or damaged: {error}.") from None
    if set(found) != {"x", "y"}:
        raise UserError(f"'{path}' must hold the arrays x and y, it has {', '.join(names) or 'none'}.")
    return _from_arrays(found["x"][:limit], found["y"][:limit], path)


def _read_csv(path: Path, limit: int | None) -> Samples:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2:
        raise MissingData(f"'{path}' has no samples: a line of names, then a line for each sample.")
    header, body = [name.strip() for name in rows[0]], rows[1:][:limit]
    column = next((header.index(name) for name in LABELS if name in header), None)
    if column is None:
        raise UserError(f"'{path}' has no column of labels in its first line; name it one of {', '.join(LABELS)}.")
    lengths = {len(row) for row in body} - {len(header)}
    if lengths:
        raise UserError(f"'{path}' has lines of {min(lengths)} values, but {len(header)} names.")
    try:
        x = np.array([row[:column] + row[column + 1 :] for row in body], dtype=np.float64)
        y = np.array([int(row[column]) for row in body])
    except ValueError as error:
        raise UserError(f"'{path}' must hold numbers, and integers as labels: {error}.") from None
    return _from_arrays(x.astype(np.float32), y, path)


def _from_arrays(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], path: Path) -> Samples:
    notes: Sequence[str] = ()
    if x.dtype == np.uint8:
        x, notes = (x / np.float64(255)).astype(np.float32), ("x is uint8: values divided by 255",)
    elif x.dtype.kind != "f":
        raise UserError(f"'{path}': x must be floating numbers or uint8, got {x.dtype}.")
    inputs = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    return Samples(inputs, check_labels(y, len(inputs)), str(path), (), tuple(notes))
