"""Waveforms of 16 bits as images of bytes, (2, 1, T): the high and the low byte of each sample, so that nothing is lost.

Data sets hold bytes; ``models.m5`` says what becomes of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bytes_of_waveforms(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return samples of 16 bits (N, T) as bytes (N, 2, 1, T).

    >>> bytes_of_waveforms(np.array([[-32768, 0, 32767]], dtype=np.int16))[0, :, 0].tolist()
    [[0, 128, 255], [0, 0, 255]]
    """
    levels = samples.view(np.uint16) ^ np.uint16(0x8000)
    planes = np.empty((len(samples), 2, 1, samples.shape[1]), dtype=np.uint8)
    planes[:, 0, 0] = levels >> 8
    planes[:, 1, 0] = levels & 255
    return planes
