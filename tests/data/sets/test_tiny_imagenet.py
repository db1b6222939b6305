"""Tiny ImageNet's loader on a small folder and zip of the publisher's layout."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustscape import catalog
from robustscape.config.datasets import DatasetEntry
from robustscape.data import download
from robustscape.data.raw_files import hash_raw_files
from robustscape.data.sets import tiny_imagenet
from robustscape.errors import CorruptFile, MissingData
from robustscape.pipeline.fingerprints import dataset_fingerprint

NUMBERS = ["n00000002", "n00000001"]


def jpeg(value: int, mode: str = "RGB", side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), value if mode == "L" else (value, 0, 255 - value)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of three images, and no network."""
    for name, value in (("CLASSES", 2), ("PER_CLASS", 3), ("TEST", 2)):
        monkeypatch.setattr(tiny_imagenet, name, value)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is off")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "_PAUSE", 0.0)


@pytest.fixture
def files() -> dict[str, bytes]:
    content = {
        "wnids.txt": "\n".join(NUMBERS).encode(),
        "words.txt": b"n00000001\tgoldfish, Carassius auratus\nn00000002\tblack stork\nn00000009\tsomething else\n",
        "val/val_annotations.txt": b"val_0.JPEG\tn00000002\t0\t0\t9\t9\nval_1.JPEG\tn00000001\t0\t0\t9\t9\n",
        "val/images/val_0.JPEG": jpeg(90),
        "val/images/val_1.JPEG": jpeg(10),
        "test/images/test_0.JPEG": jpeg(5),
    }
    for place, number in enumerate(NUMBERS):
        content[f"train/{number}/{number}_boxes.txt"] = b"box"
        for i in range(3):
            grey = place == 0 and i == 0
            content[f"train/{number}/images/{number}_{i}.JPEG"] = jpeg(100 * place + 20 * i, "L" if grey else "RGB")
    return {f"tiny-imagenet-200/{name}": data for name, data in content.items()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    content = path.read_bytes()
    known = replace(tiny_imagenet.ARCHIVE, size=len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(tiny_imagenet, "ARCHIVE", known)


def test_the_folder_is_read(tmp_path: Path, files: dict[str, bytes]) -> None:
    splits = catalog.load_function("dataset", "tiny_imagenet")(write(tmp_path, files))
    assert splits.train_x.shape == (6, 3, 64, 64) and splits.test_x.shape == (2, 3, 64, 64)
    assert list(splits.classes) == ["goldfish", "black stork"], "classes in the order of their numbers"
    assert sorted(splits.train_y.tolist()) == [0, 0, 0, 1, 1, 1] and splits.test_y.tolist() == [1, 0]
    red = splits.train_x[:, 0].mean((1, 2))
    assert np.allclose(sorted(red[splits.train_y == 0]), [100, 120, 140], atol=3), "images keep their labels"
    assert np.allclose(sorted(red[splits.train_y == 1]), [0, 20, 40], atol=3)
    grey = splits.train_x[red.argmin()]
    assert (grey[0] == grey[1]).all() and (grey[0] == grey[2]).all()
    assert np.allclose(splits.test_x[:, 0].mean((1, 2)), [90, 10], atol=3)
    assert splits.scale == 255 and "validation" in splits.note


def test_the_first_training_images_are_of_all_classes(tmp_path: Path, files: dict[str, bytes]) -> None:
    """The folders sort them by class; what is monitored are the first, whatever their number."""
    labels = tiny_imagenet.tiny_imagenet(write(tmp_path, files)).train_y
    for count in range(2, len(labels) + 1):
        assert np.ptp(np.bincount(labels[:count], minlength=2)) <= 1


def test_the_zip_holds_the_same(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_imagenet.tiny_imagenet(write(tmp_path / "a", files))
    (tmp_path / "b").mkdir()
    zipped(tmp_path / "b" / "tiny-imagenet-200.zip", files, monkeypatch)
    archive = tiny_imagenet.tiny_imagenet(tmp_path / "b")
    assert (folder.train_x == archive.train_x).all() and (folder.test_y == archive.test_y).all()


def test_without_either_the_error_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"tiny-imagenet-200\.zip \(248,100,043 bytes, md5 90528d7c") as error:
        tiny_imagenet.tiny_imagenet(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("wnids.txt", "has no file 'wnids.txt'"),
        ("words.txt", "has no file 'words.txt'"),
        ("val/val_annotations.txt", "has no file 'val/val_annotations.txt'"),
        ("train/n00000001/images/n00000001_1.JPEG", "holds 2 images, not 3"),
        ("val/images/val_1.JPEG", "names 'val_1.JPEG'"),
    ],
)
def test_an_incomplete_folder_is_named(tmp_path: Path, files: dict[str, bytes], remove: str, message: str) -> None:
    del files[f"tiny-imagenet-200/{remove}"]
    with pytest.raises(CorruptFile, match=message):
        tiny_imagenet.tiny_imagenet(write(tmp_path, files))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train/n00000001/images/n00000001_1.JPEG", b"\xff\xd8nonsense", "not a whole JPEG"),
        ("val/images/val_0.JPEG", jpeg(9, side=32), "32x32 pixels"),
        ("wnids.txt", b"n00000001\nn00000001", "lists 1 classes"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn00000002\t0", "names 1 images"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn00000007\t0", "class 'n00000007'"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, files: dict[str, bytes], name: str, data: bytes, message: str) -> None:
    files[f"tiny-imagenet-200/{name}"] = data
    with pytest.raises(CorruptFile, match=message):
        tiny_imagenet.tiny_imagenet(write(tmp_path, files))


def test_another_zip_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(CorruptFile, match="bytes"):
        tiny_imagenet.tiny_imagenet(tmp_path)


def test_links_hidden_files_and_blank_lines_change_nothing(tmp_path: Path, files: dict[str, bytes]) -> None:
    plain = tiny_imagenet.tiny_imagenet(write(tmp_path / "plain", files))
    files["tiny-imagenet-200/val/val_annotations.txt"] += b"\n\n"
    for folder in ("train/n00000001/images", "val/images", "train/n00000002"):
        files[f"tiny-imagenet-200/{folder}/._n00000001_0.JPEG"] = b"Mac OS X"
    files["tiny-imagenet-200/.DS_Store"] = b"Mac OS X"
    write(tmp_path / "stored", files)
    linked = tmp_path / "linked" / "tiny-imagenet-200"
    linked.mkdir(parents=True)
    for path in (tmp_path / "stored/tiny-imagenet-200").iterdir():  # train and val on another disk
        (linked / path.name).symlink_to(path)
    untidy = tiny_imagenet.tiny_imagenet(tmp_path / "linked")
    assert (untidy.train_x == plain.train_x).all() and (untidy.test_x == plain.test_x).all()
    assert (untidy.train_y == plain.train_y).all() and (untidy.test_y == plain.test_y).all()


def test_a_changed_image_of_the_folder_changes_the_fingerprint(tmp_path: Path, files: dict[str, bytes]) -> None:
    entry = DatasetEntry(dataset="tiny_imagenet")
    assert hash_raw_files(entry, tmp_path) == []
    write(tmp_path, files)
    before = dataset_fingerprint(entry, tmp_path)
    assert dataset_fingerprint(entry, tmp_path) == before
    (tmp_path / "tiny-imagenet-200/val/images/val_0.JPEG").write_bytes(jpeg(11))
    assert dataset_fingerprint(entry, tmp_path) != before
