"""Ten synthetic speakers saying command words, by espeak-ng: speaker identification without a download, for want of VCTK.

They are no recordings; ``_espeak`` says what makes them the same bytes each time. Every speaker says every word at every pitch
and speed, so that neither tells who it is. As in kim2023 section 3.4.1 the split is 8:2 at random, and the speakers of both parts
are the same.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robustscape.data.sets._espeak import Utterance, resampled_speech, synthesised_speech
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.data.sets.spoken_words import WORDS
from robustscape.data.splits import RawSplits, hold_out

VOICES = tuple(f"en-us+{speaker}" for speaker in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3"))
PITCHES, SPEEDS = (35, 45, 55, 65), (150, 175, 200)


def spoken_speakers(
    directory: Path,
    *,
    rate: Annotated[int, Field(ge=1000, le=22050)] = 4000,
    length: Annotated[int, Field(ge=100)] = 2400,
) -> RawSplits:
    """1,200 synthetic words, 2x1x2400, by 10 speakers, who are the classes; 80/20 split (960 + 240).

    Args:
        directory: not used; the words are made here.
        rate: samples a second.
        length: samples of a word; longer ones are cut off, shorter ones filled up with silence.

    Raises:
        MissingData: the package espeakng-loader is not installed.
    """
    said = tuple(itertools.starmap(Utterance, itertools.product(VOICES, PITCHES, SPEEDS, WORDS)))
    labels = np.array([VOICES.index(utterance.voice) for utterance in said], dtype=np.int64)
    samples = np.stack([resampled_speech(word, rate, length) for word in synthesised_speech(said)])
    train, test = hold_out(labels, share=0.2)
    return RawSplits(
        bytes_of_waveforms(samples[train]),
        labels[train],
        bytes_of_waveforms(samples[test]),
        labels[test],
        classes=VOICES,
        scale=255.0,
        licence="made here; espeak-ng (GPL-3.0-or-later) makes no claim on its output",
        source="synthetic speech of espeak-ng, by the package espeakng-loader",
        official=False,
        note=f"synthetic speech, no recordings; 16 bits, {rate:,} Hz, as two bytes a sample.",
    )
