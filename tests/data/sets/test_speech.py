"""Speech Commands' loader on a small folder and archive of the publisher's layout; the synthetic words; two bytes a sample."""

from __future__ import annotations

import hashlib
import importlib
import io
import subprocess
import sys
import tarfile
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustscape import catalog
from robustscape.data import download
from robustscape.data.sets import speech_commands, spoken_words
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.errors import CorruptFile, MissingData
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
    for name, value in (("WORDS", 2), ("TRAIN", 7), ("TEST", 2)):
        monkeypatch.setattr(speech_commands, name, value)

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
    (tmp_path / "b" / speech_commands.ARCHIVE.name).write_bytes(content)
    known = replace(speech_commands.ARCHIVE, size=len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(speech_commands, "ARCHIVE", known)
    archived = speech_commands.speech_commands(tmp_path / "b")
    assert (folder.train_x == archived.train_x).all() and (folder.test_y == archived.test_y).all()
    assert len(speech_commands.raw_files(tmp_path / "a")) == len(FILES) - 1
    assert speech_commands.raw_files(tmp_path / "b") == [], "the archive is verified by its checksum"


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

    spoken_words._synthesised_words.cache_clear()
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingData, match="pip install espeakng-loader"):
        spoken_words.spoken_words(Path("/nowhere"))
