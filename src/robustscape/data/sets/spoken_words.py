"""Ten command words, synthesised here by espeak-ng: speech without a download, where Speech Commands is not to be had.

They are no recordings. The synthesiser comes with the package espeakng-loader. Its noise is drawn from a fixed seed, and its
state before a word depends on the words before it, so all words are made once a process, in a fixed order: the same bytes each
time, on machines that round alike.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import MissingData, UserError

#: Ten of the words of Speech Commands.
WORDS = ("down", "go", "left", "no", "off", "right", "seven", "stop", "up", "yes")
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
SPEAKERS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
#: Pitch (0 to 100) and words a minute of the two times that a voice says each word.
DELIVERIES = ((40, 160), (60, 190))
#: Every fifth voice is in the test set.
TEST_EVERY = 5

# Of espeak-ng's header speak_lib.h.
_RETRIEVAL, _RATE, _PITCH, _CHARS_UTF8 = 2, 1, 3, 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


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
    synthesised, labels, voices = _synthesised_words()
    samples = np.stack([_resampled(word, rate, length) for word in synthesised])
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


def _resampled(word: Array, rate: int, length: int) -> Array:
    """Return int16 (length,) samples at ``rate`` of a word at the synthesiser's rate."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, 22050)
    heard = resample_poly(word.astype(np.float64), rate // common, 22050 // common)[:length]
    samples = np.zeros(length, dtype=np.int16)
    samples[: len(heard)] = np.clip(np.rint(heard), -32768, 32767)
    return samples


@functools.cache
def _synthesised_words() -> tuple[list[Array], Array, Array]:
    """Return the words, int16 (T,) at 22,050 Hz each, their labels and the numbers of their voices, both int64 (N,)."""
    library, heard, _callback = _synthesiser()  # the callback lives as long as the library calls it
    words: list[Array] = []
    labels, voices = [], []
    for voice, name in enumerate(f"{accent}{speaker}" for accent in ACCENTS for speaker in SPEAKERS):
        if library.espeak_SetVoiceByName(name.encode()):
            raise UserError(f"the synthesiser espeak-ng has no voice '{name}'; reinstall espeakng-loader.")
        for pitch, speed in DELIVERIES:
            library.espeak_SetParameter(_PITCH, pitch, 0)
            library.espeak_SetParameter(_RATE, speed, 0)
            for label, word in enumerate(WORDS):
                heard.clear()
                text = word.encode()
                library.espeak_ng_SetRandSeed(ctypes.c_long(len(words)))
                library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
                library.espeak_Synchronize()
                words.append(np.frombuffer(b"".join(heard), dtype=np.int16))
                labels.append(label)
                voices.append(voice)
    return words, np.array(labels, dtype=np.int64), np.array(voices, dtype=np.int64)


def _synthesiser() -> tuple[ctypes.CDLL, list[bytes], object]:
    """Return espeak-ng, ready, the list to which what it says is appended, and the function that does so."""
    try:
        loader = importlib.import_module("espeakng_loader")
        library = ctypes.CDLL(loader.get_library_path())
        data = loader.get_data_path().encode()
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingData(
            "these data are made by the Python package espeakng-loader, which is not installed or not for this machine "
            f"({error}): pip install espeakng-loader."
        ) from None
    heard: list[bytes] = []

    def keep(samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        return 0

    callback = _CALLBACK(keep)
    rate = library.espeak_Initialize(_RETRIEVAL, 0, data, 0)
    if rate != 22050:
        raise UserError(f"the synthesiser espeak-ng does not start as expected: it answers {rate}, not 22050 (Hz).")
    library.espeak_SetSynthCallback(callback)
    return library, heard, callback
