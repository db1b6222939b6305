"""Ten command words, synthesised here by espeak-ng: speech without a download, where Speech Commands is not to be had.

They are no recordings; ``_espeak`` says what makes them the same bytes each time.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robustscape.data.sets._espeak import ACCENTS, SPEAKERS, Utterance, resampled_speech, synthesised_speech
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.data.splits import RawSplits, stratified_order

#: Ten of the words of Speech Commands.
WORDS = ("down", "go", "left", "no", "off", "right", "seven", "stop", "up", "yes")
#: Pitch (0 to 100) and words a minute of the two times that a voice says each word.
DELIVERIES = ((40, 160), (60, 190))
#: Every fifth voice is in the test set.
TEST_EVERY = 5


def spoken_words(
    directory: Path,
    *,
    rate: Annotated[int, Field(ge=1000, le=22050)] = 4000,
    length: Annotated[int, Field(ge=100)] = 2400,
) -> RawSplits:
    """2,080 synthetic words, 2x1x2400, by 104 voices; 10 classes; split by voice (1,680 + 400).

    Args:
        directory: not used; the words are made here.
        rate: samples a second.
        length: samples of a word; longer ones are cut off, shorter ones filled up with silence.

    Raises:
        MissingData: the package espeakng-loader is not installed.
    """
    said = [
        (Utterance(f"{accent}{speaker}", pitch, speed, word), label, voice)
        for voice, (accent, speaker) in enumerate(itertools.product(ACCENTS, SPEAKERS))
        for pitch, speed in DELIVERIES
        for label, word in enumerate(WORDS)
    ]
    utterances, *numbers = zip(*said, strict=True)
    labels, voices = (np.array(column, dtype=np.int64) for column in numbers)
    samples = np.stack([resampled_speech(word, rate, length) for word in synthesised_speech(tuple(utterances))])
    is_test = voices % TEST_EVERY == TEST_EVERY - 1
    train, test = (
        chosen[stratified_order(labels[chosen])] for chosen in (np.flatnonzero(~is_test), np.flatnonzero(is_test))
    )
    return RawSplits(
        bytes_of_waveforms(samples[train]),
        labels[train],
        bytes_of_waveforms(samples[test]),
        labels[test],
        classes=WORDS,
        scale=255.0,
        licence="made here; espeak-ng (GPL-3.0-or-later) makes no claim on its output",
        source="synthetic speech of espeak-ng, by the package espeakng-loader",
        official=False,
        note=f"synthetic speech, no recordings; no voice is in both parts; 16 bits, {rate:,} Hz, as two bytes a sample.",
    )
