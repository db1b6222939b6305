"""Speech synthesised by espeak-ng, of the package espeakng-loader: the same samples each time, on machines that round alike.

The synthesiser's noise is drawn from a seed that is fixed for each utterance. Its state before an utterance depends on those
before it, so a list of utterances is spoken whole, in its order, by a process of its own.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import json
import math
import os
import subprocess
import sys
from dataclasses import astuple, dataclass

import numpy as np

from robustscape.data.splits import Array
from robustscape.errors import MissingData, UserError

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
SPEAKERS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")

#: Samples a second of what the synthesiser returns.
RATE = 22050

# Of espeak-ng's header speak_lib.h.
_RETRIEVAL, _RATE, _PITCH, _CHARS_UTF8 = 2, 1, 3, 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Utterance:
    """A text, the voice that says it, its pitch (0 to 100) and its words a minute."""

    voice: str
    pitch: int
    speed: int
    text: str


def resampled_speech(speech: Array, rate: int, length: int) -> Array:
    """Return int16 (length,) samples at ``rate`` of speech at ``RATE``: cut off, or filled up with silence."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, RATE)
    heard = resample_poly(speech.astype(np.float64), rate // common, RATE // common)[:length]
    samples = np.zeros(length, dtype=np.int16)
    samples[: len(heard)] = np.clip(np.rint(heard), -32768, 32767)
    return samples


@functools.cache
def synthesised_speech(utterances: tuple[Utterance, ...]) -> list[Array]:
    """Return each utterance, int16 (T,) at ``RATE``.

    Raises:
        MissingData: the package espeakng-loader is not installed.
        UserError: the synthesiser has no such voice, or does not start.
    """
    try:
        loader = importlib.import_module("espeakng_loader")
        files = loader.get_library_path(), loader.get_data_path()
        ctypes.CDLL(files[0])
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingData(
            "these data are made by the Python package espeakng-loader, which is not installed or not for this machine "
            f"({error}): pip install espeakng-loader."
        ) from None
    order = json.dumps([*files, [astuple(utterance) for utterance in utterances]]).encode()
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", __name__], input=order, capture_output=True, env=os.environ | path)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(
            f"the synthesiser espeak-ng does not work as expected ({reason[-1]}); reinstall espeakng-loader."
        )
    lengths, _, samples = done.stdout.partition(b"\n")
    return np.split(np.frombuffer(samples, dtype="<i2"), np.cumsum(json.loads(lengths))[:-1])


def _speak(library_file: str, data_folder: str, utterances: list[Utterance]) -> list[Array]:
    """What ``synthesised_speech`` returns, in a process in which nothing has been said yet."""
    library, heard = ctypes.CDLL(library_file), list[bytes]()

    def keep(samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        return 0

    callback = _CALLBACK(keep)  # lives as long as the library calls it
    rate = library.espeak_Initialize(_RETRIEVAL, 0, data_folder.encode(), 0)
    if rate != RATE:
        raise UserError(f"it starts with {rate} Hz, not {RATE}")
    library.espeak_SetSynthCallback(callback)
    found: list[Array] = []
    voice = None
    for number, said in enumerate(utterances):
        if said.voice != voice:
            voice = said.voice
            if library.espeak_SetVoiceByName(voice.encode()):
                raise UserError(f"it has no voice '{voice}'")
        library.espeak_SetParameter(_PITCH, said.pitch, 0)
        library.espeak_SetParameter(_RATE, said.speed, 0)
        heard.clear()
        text = said.text.encode()
        library.espeak_ng_SetRandSeed(ctypes.c_long(number))
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        library.espeak_Synchronize()
        found.append(np.frombuffer(b"".join(heard), dtype=np.int16))
    return found


def _answer() -> None:
    """Speak what standard input asks for: the lengths as JSON, a new line, and all samples go to standard output."""
    library_file, data_folder, said = json.load(sys.stdin)
    found = _speak(library_file, data_folder, [Utterance(*utterance) for utterance in said])
    sys.stdout.buffer.write(json.dumps([len(speech) for speech in found]).encode() + b"\n")
    sys.stdout.buffer.write(b"".join(speech.astype("<i2").tobytes() for speech in found))


if __name__ == "__main__":
    _answer()
