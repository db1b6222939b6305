"""Loaders of Speech Commands and VCTK on small folders and archives of their layout; synthetic speech; two bytes a sample."""

from __future__ import annotations

import hashlib
import importlib
import io
import shutil
import subprocess
import sys
import tarfile
import wave
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from robustscape import catalog
from robustscape.data import download
from robustscape.data.sets import _espeak, speech_commands, spoken_speakers, spoken_words, vctk
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.models.m5 import waveforms_of_bytes


def recording(value: int, length: int = 16_000, channels: int = 1, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.full(length * channels, value, dtype="<i2").tobytes())
    return buffer.getvalue()


FILES = {f"{word}/{k}_{i}.wav": recording(1000 * k + i) for k, word in enumerate(("go", "yes")) for i in range(5)}
FILES |= {
    "_background_noise_/hum.wav": recording(7, 40_000),
    "testing_list.txt": b"go/0_1.wav\nyes/1_1.wav\n",
    "validation_list.txt": b"yes/1_4.wav\n",
    "yes/._1_0.wav": b"x",
    "yes/1_0.wav": recording(-5, 12_000),
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / "SpeechCommands" / "speech_commands_v0.02" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two words, and no network."""
    few = {name: replace(each, words=2, train=7, test=2) for name, each in speech_commands.VERSIONS.items()}
    monkeypatch.setattr(speech_commands, "VERSIONS", few)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is off")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "_PAUSE", 0.0)


def samples_of(x: np.ndarray) -> np.ndarray:
    """The samples int16 (N, T) of bytes (N, 2, 1, T)."""
    return (x[:, 0, 0].astype(np.int32) * 256 + x[:, 1, 0] - 32768).astype(np.int16)


def test_the_folder_is_read(tmp_path: Path) -> None:
    splits = catalog.load_function("dataset", "speech_commands")(write(tmp_path, FILES))
    assert splits.train_x.shape == (7, 2, 1, 16_000) and splits.test_x.shape == (2, 2, 1, 16_000)
    assert list(splits.classes) == ["go", "yes"] and splits.official
    train, test = samples_of(splits.train_x), samples_of(splits.test_x)
    assert sorted(train[splits.train_y == 0, 0].tolist()) == [0, 2, 3, 4], "neither list's"
    assert sorted(train[splits.train_y == 1, 0].tolist()) == [-5, 1002, 1003]
    assert test[splits.test_y == 0, 0].tolist() == [1] and test[splits.test_y == 1, 0].tolist() == [1001]
    short = train[train[:, 0] == -5][0]
    assert (short[:12_000] == -5).all() and (short[12_000:] == 0).all(), "filled up with silence"


def test_the_archive_holds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = speech_commands.speech_commands(write(tmp_path / "a", FILES))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    content = buffer.getvalue()
    (tmp_path / "b").mkdir()
    version = speech_commands.VERSIONS["v0.02"]
    (tmp_path / "b" / version.archive.name).write_bytes(content)
    known = replace(version.archive, size=len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(speech_commands.VERSIONS, "v0.02", replace(version, archive=known))
    archived = speech_commands.speech_commands(tmp_path / "b")
    assert (folder.train_x == archived.train_x).all() and (folder.test_y == archived.test_y).all()
    assert len(speech_commands.raw_files(tmp_path / "a")) == len(FILES) - 1
    assert speech_commands.raw_files(tmp_path / "b") == [], "the archive is verified by its checksum"


def test_the_first_version_has_files_of_its_own_and_words_can_be_chosen(tmp_path: Path) -> None:
    shutil.copytree(write(tmp_path / "x", FILES) / "SpeechCommands", tmp_path / "y" / "SpeechCommands")
    folder = tmp_path / "y" / "SpeechCommands"
    (folder / "speech_commands_v0.02").rename(folder / "speech_commands_v0.01")
    splits = speech_commands.speech_commands(tmp_path / "y", version="v0.01", words=["yes", "go"])
    assert list(splits.classes) == ["yes", "go"]
    assert sorted(samples_of(splits.train_x)[splits.train_y == 1, 0].tolist()) == [0, 2, 3, 4]
    assert len(speech_commands.raw_files(tmp_path / "y", version="v0.01", words=["yes", "go"])) == len(FILES) - 1
    with pytest.raises(UserError, match="'cat'"):
        speech_commands.speech_commands(tmp_path / "y", version="v0.01", words=["yes", "cat"])
    with pytest.raises(MissingData, match=r"v0\.01\.tar\.gz \(1,489,096,277 bytes"):
        speech_commands.speech_commands(tmp_path / "x", version="v0.01")


def test_without_either_the_error_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"v0\.02\.tar\.gz \(2,428,923,189 bytes, md5 6b74f390") as error:
        speech_commands.speech_commands(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"testing_list.txt": None}, "has no file 'testing_list.txt'"),
        ({"yes/1_4.wav": None}, "lacks 1 files of its lists, such as 'yes/1_4.wav'"),
        ({"yes/1_3.wav": None}, r"holds 6 \+ 2 recordings of its parts, not 7 \+ 2"),
        ({"no/0.wav": recording(0)}, "holds 3 words, not 2"),
        ({"go/0_0.wav": b"RIFF"}, r"0_0\.wav' is not a whole WAV file"),
        ({"go/0_0.wav": recording(0, rate=8000)}, "has 1 channels of 16 bits at 8000 Hz, not 1 of 16 at 16000"),
        ({"go/0_0.wav": recording(0, channels=2)}, "has 2 channels"),
    ],
)
def test_folders_that_are_not_the_publishers(tmp_path: Path, change: dict[str, bytes | None], message: str) -> None:
    files = {name: data for name, data in (FILES | change).items() if data is not None}
    with pytest.raises(CorruptFile, match=message):
        speech_commands.speech_commands(write(tmp_path, files))


def test_two_bytes_hold_all_of_a_sample() -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16).reshape(1, -1)
    planes = bytes_of_waveforms(samples)
    assert planes.shape == (1, 2, 1, 65536) and (samples_of(planes) == samples).all()
    x = torch.from_numpy(planes).double() / 255
    expected = 2 * (torch.arange(65536).double()) / 65535 - 1
    torch.testing.assert_close(waveforms_of_bytes(x).flatten(), expected)


def test_budgets_of_waveforms_are_twice_those_of_bytes() -> None:
    """What m5's docstring says of L-infinity, L2 and noise."""
    delta = torch.randn(1, 2, 1, 400, generator=torch.Generator().manual_seed(0)).double()
    zero = torch.full_like(delta, 0.5)

    def change(d: torch.Tensor) -> torch.Tensor:
        return waveforms_of_bytes(zero + d) - waveforms_of_bytes(zero)

    assert change(0.01 * delta.sign()).abs().max() <= 0.02 + 1e-12
    torch.testing.assert_close(change(torch.full_like(delta, 0.01)).max().item(), 0.02)
    aligned = delta.clone()
    aligned[:, 1] = delta[:, 0] * 255 / 65280
    assert abs(change(aligned).norm() / aligned.norm() - 1.992) < 1e-3
    assert change(delta).norm() / delta.norm() <= 1.9923
    assert abs((2 * 65280 / 65535) ** 2 + (2 * 255 / 65535) ** 2 - 3.969) < 1e-3


# Synthetic words ------------------------------------------------------------------------------------------------------


def test_words_are_the_same_in_every_process_and_call() -> None:
    splits = spoken_words.spoken_words(Path("/nowhere"))
    again = spoken_words.spoken_words(Path("/nowhere"))
    code = (
        "import hashlib, pathlib; from robustscape.data.sets.spoken_words import spoken_words; "
        "s = spoken_words(pathlib.Path('/nowhere')); print(hashlib.sha256(s.train_x.tobytes() + s.test_x.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert (splits.train_x == again.train_x).all()
    assert hashlib.sha256(splits.train_x.tobytes() + splits.test_x.tobytes()).hexdigest() == other


def test_speakers_are_told_apart_by_neither_word_nor_pitch_and_are_the_same_after_other_speech() -> None:
    """The synthesiser's state depends on all it has said in its process."""
    splits = spoken_speakers.spoken_speakers(Path("/nowhere"))
    assert splits.train_x.shape == (960, 2, 1, 2400) and splits.test_x.shape == (240, 2, 1, 2400)
    assert np.bincount(splits.train_y).tolist() == [96] * 10 and len(splits.classes) == 10
    assert len({row.tobytes() for row in np.concatenate([splits.train_x, splits.test_x])}) == 1200, "all differ"
    _espeak.synthesised_speech.cache_clear()
    spoken_words.spoken_words(Path("/nowhere"))
    again = spoken_speakers.spoken_speakers(Path("/nowhere"))
    assert (splits.train_x == again.train_x).all() and (splits.test_y == again.test_y).all()


def test_words_are_audible_and_voices_are_not_shared() -> None:
    splits = spoken_words.spoken_words(Path("/nowhere"), rate=2000, length=1200)
    assert splits.train_x.shape == (1680, 2, 1, 1200) and splits.test_x.shape == (400, 2, 1, 1200)
    assert np.bincount(splits.train_y).tolist() == [168] * 10 and np.bincount(splits.test_y).tolist() == [40] * 10
    train = samples_of(splits.train_x).astype(float) / 32768
    assert (np.sqrt((train**2).mean(1)) > 0.005).all(), "none is silent"
    assert len({row.tobytes() for row in np.concatenate([splits.train_x, splits.test_x])}) > 2000, "all differ"
    assert "synthetic" in splits.note and not splits.official


def test_without_the_synthesiser_the_error_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    _espeak.synthesised_speech.cache_clear()
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingData, match="pip install espeakng-loader"):
        spoken_words.spoken_words(Path("/nowhere"))


# VCTK -----------------------------------------------------------------------------------------------------------------


def sentence(value: float, length: int = 48_000, rate: int = 48_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(length, float(value)), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


#: Three speakers with five sentences each by two microphones, and files that are none.
CORPUS = {
    f"wav48_silence_trimmed/p{n}/p{n}_{i:03}_{mic}.flac": sentence(0.1 * k + 0.01 * i + (0.05 if mic == "mic1" else 0))
    for k, n in enumerate((225, 226, 227))
    for i in range(5)
    for mic in ("mic1", "mic2")
} | {"txt/p225/p225_001.txt": b"Please call Stella.", "wav48_silence_trimmed/log.txt": b""}


def unpack(folder: Path, files: dict[str, bytes] = CORPUS) -> Path:
    for name, data in files.items():
        path = folder / vctk.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_the_first_speakers_of_vctk(tmp_path: Path) -> None:
    splits = vctk.vctk(unpack(tmp_path), speakers=2, length=20_000)
    assert list(splits.classes) == ["p225", "p226"] and splits.train_x.shape == (8, 2, 1, 20_000)
    assert np.bincount(splits.test_y).tolist() == [1, 1], "8:2, stratified"
    heard = samples_of(np.concatenate([splits.train_x, splits.test_x]))
    # Amid a second of a constant, resampled from 48 kHz to 16 kHz.
    assert sorted((heard[:, 8000] / 32768).round(2).tolist()) == [
        0.0,
        0.01,
        0.02,
        0.03,
        0.04,
        0.1,
        0.11,
        0.12,
        0.13,
        0.14,
    ]
    assert not heard[:, 16_000:].any(), "a second of speech, then silence"
    assert len(vctk.raw_files(tmp_path)) == 31, "the recordings alone are read, and one list beside them"
    other = vctk.vctk(tmp_path, speakers=2, length=20_000, microphone="mic1")
    assert samples_of(other.train_x)[:, 8000].min() / 32768 > 0.04


def test_the_zip_of_vctk_holds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vctk.vctk(unpack(tmp_path / "a"), speakers=3, length=20_000)
    (tmp_path / "b").mkdir()
    path = tmp_path / "b" / vctk.ARCHIVE.name
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in CORPUS.items():
            archive.writestr(name, data)
    content = path.read_bytes()
    known = replace(vctk.ARCHIVE, size=len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(vctk, "ARCHIVE", known)
    zipped = vctk.vctk(tmp_path / "b", speakers=3, length=20_000)
    assert (folder.train_x == zipped.train_x).all() and (folder.test_y == zipped.test_y).all()
    assert vctk.raw_files(tmp_path / "b") == [], "the archive is verified by its checksum"


def test_vctk_that_is_not_the_publishers(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"VCTK-Corpus-0\.92\.zip \(11,747,302,977 bytes"):
        vctk.vctk(tmp_path / "none")
    with pytest.raises(CorruptFile, match=r"of 3 speakers, not 10"):
        vctk.vctk(unpack(tmp_path / "few"))
    name = "wav48_silence_trimmed/p225/p225_000_mic2.flac"
    with pytest.raises(CorruptFile, match=r"1 channels at 16000 Hz, not 1 at 48000"):
        vctk.vctk(unpack(tmp_path / "slow", CORPUS | {name: sentence(0, rate=16_000)}), speakers=2)
    with pytest.raises(CorruptFile, match="not a whole FLAC file"):
        vctk.vctk(unpack(tmp_path / "torn", CORPUS | {name: b"fLaC"}), speakers=2)
