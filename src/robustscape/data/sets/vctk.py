"""VCTK (Yamagishi et al. 2019, version 0.92): sentences read by English speakers, from the publisher's zip or its folder.

    VCTK-Corpus-0.92/wav48_silence_trimmed/p225/p225_001_mic2.flac      48 kHz, mono; 110 speakers, some 400 sentences each

The zip, which holds what is below ``VCTK-Corpus-0.92``, and that folder are torchaudio's. kim2023 section 3.4.1 identifies the
first ten speakers, with an 8:2 split. It says neither which of the two microphones, nor sampling rate and length: here the one
that torchaudio takes, 16 kHz, for which wav2vec is made, and the first three seconds, shorter sentences filled up with silence.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.data.splits import Array, RawSplits, hold_out
from robustscape.errors import CorruptFile

ARCHIVE = RemoteFile(
    "VCTK-Corpus-0.92.zip",
    11747302977,
    "8a6ba2946b36fcbef0212cad601f4bfa",
    ("https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",),
)

FOLDER, SPEECH = "VCTK-Corpus-0.92", "wav48_silence_trimmed"
RECORDED_AT, RATE = 48_000, 16_000


def vctk(
    directory: Path,
    *,
    speakers: Annotated[int, Field(ge=2, le=110)] = 10,
    microphone: Literal["mic1", "mic2"] = "mic2",
    length: Annotated[int, Field(ge=1000)] = 48_000,
) -> RawSplits:
    """About 3,700 sentences, 2x1x48000, by the first 10 speakers, who are the classes; 80/20 split of our own.

    Args:
        directory: holds ``VCTK-Corpus-0.92.zip``, or the folder ``VCTK-Corpus-0.92``.
        speakers: the first of the corpus, in the order of their names.
        microphone: whose recordings.
        length: samples at 16 kHz; what is longer is cut off, what is shorter filled up with silence.
    """
    folder = directory / FOLDER
    if folder.is_dir():
        paths = (path.relative_to(folder).as_posix() for path in (folder / SPEECH).rglob("*.flac"))
        return _read_speakers(paths, lambda name: (folder / name).read_bytes(), folder, speakers, microphone, length)
    (path,) = obtain_files("vctk", [ARCHIVE], directory)
    verify_file(path, ARCHIVE)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_speakers(archive.namelist(), archive.read, path, speakers, microphone, length)
    except zipfile.BadZipFile as error:
        raise CorruptFile(f"'{path}' is not a whole zip archive: {error}.") from None


def raw_files(
    directory: Path, *, speakers: int = 10, microphone: Literal["mic1", "mic2"] = "mic2", length: int = 48_000
) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's zip is read."""
    walk = os.walk(directory / FOLDER / SPEECH, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


def _read_speakers(
    names: Iterable[str], read: Callable[[str], bytes], where: Path, speakers: int, microphone: str, length: int
) -> RawSplits:
    """Return both splits; ``read`` gives the content of one of ``names``, paths seen from the corpus's folder."""
    form = re.compile(rf"(?:.*/)?{SPEECH}/(\w+)/\1_\w+_{microphone}\.flac")
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if match := form.fullmatch(name):
            found.setdefault(match[1], []).append(name)
    classes = sorted(found)[:speakers]
    if len(classes) < speakers:
        raise CorruptFile(
            f"'{where}' holds recordings ({microphone}) of {len(classes)} speakers, not {speakers}: the layout of "
            f"{ARCHIVE.name} is expected; unpack it again."
        )
    chosen = [(name, label) for label, speaker in enumerate(classes) for name in found[speaker]]
    y = np.array([label for _, label in chosen], dtype=np.int64)
    samples = np.stack([_read_recording(read(name), f"{where}: {name}", length) for name, _ in chosen])
    train, test = hold_out(y, share=0.2)
    return RawSplits(
        bytes_of_waveforms(samples[train]),
        y[train],
        bytes_of_waveforms(samples[test]),
        y[test],
        classes=classes,
        scale=255.0,
        licence="CC BY 4.0",
        source="https://doi.org/10.7488/ds/2645 (Yamagishi, Veaux and MacDonald, 2019)",
        official=False,
        note=f"the first {speakers} speakers, {microphone}; published as one set, stratified 80/20 split of our own; 16 bits, "
        f"{RATE:,} Hz, the first {length:,} samples, as two bytes a sample.",
    )


def _read_recording(content: bytes, where: str, length: int) -> Array:
    """Return int16 (length,) samples at ``RATE`` of a FLAC file at 48 kHz."""
    import soundfile
    from scipy.signal import resample_poly

    try:
        heard, rate = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise CorruptFile(f"'{where}' is not a whole FLAC file: {error}.") from None
    if rate != RECORDED_AT or heard.shape[1] != 1:
        raise CorruptFile(f"'{where}' has {heard.shape[1]} channels at {rate} Hz, not 1 at {RECORDED_AT}.")
    samples = np.zeros(length, dtype=np.int16)
    kept = resample_poly(heard[:, 0], 1, RECORDED_AT // RATE)[:length]
    samples[: len(kept)] = np.clip(np.rint(kept * 32768), -32768, 32767)
    return samples
