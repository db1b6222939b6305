"""Inputs of random levels with random labels, in the shape of a data set that need not be there: for rehearsals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robustscape.data.splits import RawSplits


def random_inputs(
    directory: Path,
    *,
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)],
    classes: Annotated[int, Field(ge=2)],
    samples: Annotated[int, Field(ge=2)],
) -> RawSplits:
    """Return ``samples`` training and as many test inputs with uniform levels in 0..255, and uniform labels; the same each time.

    Args:
        directory: not used.
        shape: of an input, (C, H, W).
        classes: number of classes; there may be classes without an input.
        samples: of each part.
    """
    generator = np.random.Generator(np.random.PCG64(0))

    def draw() -> tuple[np.ndarray, np.ndarray]:
        x = generator.integers(0, 256, (samples, *shape), dtype=np.uint8)
        return x, generator.integers(0, classes, samples, dtype=np.int64)

    (train_x, train_y), (test_x, test_y) = draw(), draw()
    return RawSplits(
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=[str(number) for number in range(classes)],
        scale=255.0,
        licence="none needed",
        source="random numbers",
        official=False,
        note="random numbers: nothing can be learned from them.",
        complete=False,
    )
