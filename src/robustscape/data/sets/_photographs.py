"""Photographs in a folder a class, brought to 224x224 pixels as is usual for ImageNet (Caltech-101, Imagenette)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from robustscape.data.splits import Array
from robustscape.errors import CorruptFile

#: The shorter side is resized to the first, then a square of the second is cut out of the middle.
RESIZED, SIDE = 256, 224


def image_names(folder: Path, suffix: str) -> list[Path]:
    """Return the images of a folder in the order of their names, without the files that systems add (``._*``)."""
    return sorted(path for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith("."))


def read_photographs(paths: Sequence[Path]) -> Array:
    """Return pixels uint8 (N, 3, 224, 224); grey images get three equal channels.

    Bilinear with antialiasing, as torchvision's Resize(256) and CenterCrop(224) do on such images.

    Raises:
        CorruptFile: a file is no whole image; the message names it.
    """
    x = np.empty((len(paths), 3, SIDE, SIDE), dtype=np.uint8)
    for place, path in enumerate(paths):
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except OSError as error:
            raise CorruptFile(f"'{path}' is not a whole image: {error}.") from None
        x[place] = np.asarray(_resized_centre(image)).transpose(2, 0, 1)
    return x


def _resized_centre(image: Image.Image) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    size = (RESIZED * width // short, RESIZED * height // short)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - SIDE) / 2), round((size[1] - SIDE) / 2)
    return resized.crop((left, top, left + SIDE, top + SIDE))
