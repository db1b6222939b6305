"""Waveforms of 16 bits as images of bytes, (2, 1, T): the high and the low byte of each sample, so that nothing is lost.

Data sets hold bytes; ``models.m5`` says what becomes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bytes_of_waveforms(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return samples of 16 bits (N, T) as bytes (N, 2, 1, T).

    >>> bytes_of_waveforms(np.array([[-32768, 0, 32767]], dtype=np.int16))[0, :, 0].tolist()
    [[0, 128, 255], [0, 0, 255]]
    """
    levels: NDArray[Any] = samples.astype(np.int32) + 32768
    return np.stack([levels >> 8, levels & 255], axis=1).astype(np.uint8)[:, :, None]
