"""Speech Commands (Warden 2018): one-second recordings of single words, from the publisher's archive or its folder.

    SpeechCommands/speech_commands_v0.02/yes/0a7c2a8d_nohash_0.wav      1,557 to 4,052 per word, mono, 16 bits, 16 kHz
    SpeechCommands/speech_commands_v0.02/testing_list.txt               11,005 names, such as yes/0a7c2a8d_nohash_0.wav
    SpeechCommands/speech_commands_v0.02/validation_list.txt            9,981 names, left out

Version 0.02 has 35 words, version 0.01 (2017) 30 of them in a folder and an archive of its own; the folders are torchaudio's.
Training recordings are those of neither list. Shorter recordings are filled up with silence at their end. Both splits are given
in ``splits.stratified_order``, since the folders sort them by word.
"""

from __future__ import annotations

import contextlib
import os
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from robustscape.data.archives import unpacked_archive
from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.data.splits import Array, RawSplits, stratified_order
from robustscape.errors import CorruptFile, unknown_name

_HOST = "download.tensorflow.org/data/"

TESTING, VALIDATION, NO_WORD = "testing_list.txt", "validation_list.txt", "_background_noise_"
RATE, LENGTH = 16_000, 16_000


@dataclass(frozen=True)
class Version:
    """A version of the data: its archive, and the numbers of its words, training and test recordings."""

    archive: RemoteFile
    words: int
    train: int
    test: int

    @property
    def folder(self) -> Path:
        """The folder in which torchaudio unpacks it, seen from the downloads."""
        return Path("SpeechCommands", self.archive.name.removesuffix(".tar.gz"))


def _archive(name: str, size: int, md5: str) -> RemoteFile:
    return RemoteFile(name, size, md5, (f"https://storage.googleapis.com/{_HOST}{name}", f"http://{_HOST}{name}"))


VERSIONS = {
    "v0.01": Version(
        _archive("speech_commands_v0.01.tar.gz", 1489096277, "3cd23799cb2bbdec517f1cc028f8d43c"), 30, 51_088, 6_835
    ),
    "v0.02": Version(
        _archive("speech_commands_v0.02.tar.gz", 2428923189, "6b74f3901214cb2c2934e98196829835"), 35, 84_843, 11_005
    ),
}


def speech_commands(
    directory: Path,
    *,
    version: Literal["v0.01", "v0.02"] = "v0.02",
    words: Annotated[list[str], Field(min_length=2)] | None = None,
) -> RawSplits:
    """95,848 spoken words, 2x1x16000; 35 classes; official split without its validation part (84,843 + 11,005).

    Args:
        directory: holds ``speech_commands_v0.02.tar.gz``, or the folder ``SpeechCommands/speech_commands_v0.02``; likewise v0.01.
        version: which one.
        words: the words that are kept, in the order of their labels; None: all, in that of the alphabet.

    Raises:
        ConfigError: there is no such word.
    """
    chosen = VERSIONS[version]
    with _word_folder(directory, chosen) as folder:
        return _read_words(folder, chosen, words)


def raw_files(
    directory: Path, *, version: Literal["v0.01", "v0.02"] = "v0.02", words: list[str] | None = None
) -> list[Path]:
    """Return the files of the unpacked folder, which nothing else verifies; none where the publisher's archive is read."""
    walk = os.walk(directory / VERSIONS[version].folder, followlinks=True)
    return [Path(folder, name) for folder, _, names in walk for name in names if not name.startswith(".")]


@contextlib.contextmanager
def _word_folder(directory: Path, version: Version) -> Iterator[Path]:
    """Yield the folder with a folder a word, unpacked for the block if need be."""
    folder = directory / version.folder
    if folder.is_dir():
        yield folder
        return
    (path,) = obtain_files("speech_commands", [version.archive], directory)
    verify_file(path, version.archive)
    with unpacked_archive(path) as unpacked:
        yield unpacked


def _read_words(folder: Path, version: Version, kept: Sequence[str] | None) -> RawSplits:
    """Return both splits of a folder with a folder a word and the publisher's lists."""
    words = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != NO_WORD)
    if len(words) != version.words:
        raise CorruptFile(_unexpected(folder, f"holds {len(words)} words, not {version.words}"))
    testing, validation = (_listed_names(folder, name) for name in (TESTING, VALIDATION))
    every = {f"{word}/{path.name}" for word in words for path in (folder / word).glob("*.wav") if path.name[0] != "."}
    if missing := sorted((testing | validation) - every):
        raise CorruptFile(_unexpected(folder, f"lacks {len(missing)} files of its lists, such as '{missing[0]}'"))
    train, test = sorted(every - testing - validation), sorted(testing)
    if (len(train), len(test)) != (version.train, version.test):
        raise CorruptFile(
            _unexpected(
                folder,
                f"holds {len(train):,} + {len(test):,} recordings of its parts, not {version.train:,} + {version.test:,}",
            )
        )
    if kept is not None:
        for word in kept:
            if word not in words:
                raise unknown_name("word of Speech Commands", word, words)
        words = list(kept)
        train, test = ([name for name in names if name.partition("/")[0] in words] for names in (train, test))
    return RawSplits(
        *_read_recordings(folder, train, words),
        *_read_recordings(folder, test, words),
        classes=words,
        scale=255.0,
        licence="CC BY 4.0",
        source=f"http://{_HOST}{version.archive.name} (Warden, 2018)",
        official=True,
        note="the official training and test lists; waveforms of 16 bits, 16 kHz, as two bytes a sample."
        + ("" if kept is None else f" Only the words {', '.join(kept)}."),
    )


def _unexpected(folder: Path, what: str) -> str:
    return f"'{folder}' {what}: the layout of {folder.name}.tar.gz is expected; unpack it again."


def _listed_names(folder: Path, name: str) -> set[str]:
    try:
        return set((folder / name).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        raise CorruptFile(_unexpected(folder, f"has no file '{name}'")) from None


def _read_recordings(folder: Path, names: Sequence[str], words: Sequence[str]) -> tuple[Array, Array]:
    """Return waveforms as bytes uint8 (N, 2, 1, 16000) and labels int64 (N,), in the stratified order."""
    y = np.array([words.index(name.partition("/")[0]) for name in names], dtype=np.int64)
    order = stratified_order(y)
    samples = np.zeros((len(names), LENGTH), dtype=np.int16)
    for row, place in zip(samples, order, strict=True):
        found = _read_wave(folder / names[place])[:LENGTH]
        row[: len(found)] = found
    return bytes_of_waveforms(samples), y[order]


def _read_wave(path: Path) -> Array:
    """Return the samples int16 (T,) of a mono file of 16 bits at 16 kHz."""
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise CorruptFile(f"'{path}' is not a whole WAV file: {error}.") from None
    if form != (1, 16, RATE):
        raise CorruptFile(f"'{path}' has {form[0]} channels of {form[1]} bits at {form[2]} Hz, not 1 of 16 at {RATE}.")
    return np.frombuffer(content, dtype="<i2")
