"""The loaders of Caltech-101 and Imagenette on small folders and archives of the publishers' layouts."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from robustscape import catalog
from robustscape.data import download
from robustscape.data.sets import caltech101, imagenette
from robustscape.data.sets._photographs import read_photographs
from robustscape.data.splits import RawSplits
from robustscape.errors import CorruptFile, MissingData


def picture(value: int, mode: str = "RGB", size: tuple[int, int] = (300, 260)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


OBJECTS = {f"{name}/image_{i:04}.jpg": picture(100 * k + 20 * i) for k, name in enumerate("ab") for i in range(1, 6)}
OBJECTS |= {"BACKGROUND_Google/image_0001.jpg": picture(9), "BACKGROUND_Google/tmp": b"x", "a/._image_0001.jpg": b"x"}
CALTECH = {f"caltech101/101_ObjectCategories/{name}": data for name, data in OBJECTS.items()}

IMAGENETTE = {
    f"imagenette2/{part}/{number}/{number}_{i}.JPEG": picture(100 * k + 20 * i, "L" if i == 0 and k == 0 else "RGB")
    for part, count in (("train", 3), ("val", 2))
    for k, number in enumerate(("n1", "n2"))
    for i in range(count)
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of a few images, and no network."""
    monkeypatch.setattr(caltech101, "CLASSES", 2)
    monkeypatch.setattr(caltech101, "IMAGES", 10)
    monkeypatch.setattr(imagenette, "CLASSES", {"n1": "tench", "n2": "golf ball"})
    monkeypatch.setattr(imagenette, "IMAGES", {"train": 6, "val": 4})

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is off")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "_PAUSE", 0.0)


def caltech_archive(folder: Path, monkeypatch: pytest.MonkeyPatch, member: str = caltech101.MEMBER) -> None:
    inner = tarred({f"101_ObjectCategories/{name}": data for name, data in OBJECTS.items()})
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        archive.writestr(member, inner)
    known(caltech101, folder, monkeypatch)


def imagenette_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "imagenette2.tgz").write_bytes(tarred(IMAGENETTE))
    known(imagenette, folder, monkeypatch)


def known(module: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the archive in ``folder`` the publisher's."""
    archive = module.ARCHIVE  # type: ignore[attr-defined]
    content = (folder / archive.name).read_bytes()
    monkeypatch.setattr(module, "ARCHIVE", replace(archive, size=len(content), md5=hashlib.md5(content).hexdigest()))


def load_named(name: str, folder: Path) -> RawSplits:
    splits: RawSplits = catalog.load_function("dataset", name)(folder)
    return splits


def test_caltech101_from_its_folder(tmp_path: Path) -> None:
    splits = load_named("caltech101", write(tmp_path, CALTECH))
    assert splits.train_x.shape == (8, 3, 224, 224) and splits.test_x.shape == (2, 3, 224, 224)
    assert list(splits.classes) == ["a", "b"], "the background is no class"
    assert np.bincount(splits.train_y).tolist() == [4, 4] and np.bincount(splits.test_y).tolist() == [1, 1], (
        "stratified"
    )
    red = np.concatenate([splits.train_x, splits.test_x])[:, 0].mean((1, 2))
    labels = np.concatenate([splits.train_y, splits.test_y])
    assert np.allclose(sorted(red[labels == 0]), [20, 40, 60, 80, 100], atol=3), "images keep their labels"
    assert not splits.official and "our own" in splits.note


def test_imagenette_from_its_folder(tmp_path: Path) -> None:
    splits = load_named("imagenette", write(tmp_path, IMAGENETTE))
    assert splits.train_x.shape == (6, 3, 224, 224) and splits.test_x.shape == (4, 3, 224, 224)
    assert list(splits.classes) == ["tench", "golf ball"] and splits.official
    for x, y, count in ((splits.train_x, splits.train_y, 3), (splits.test_x, splits.test_y, 2)):
        red = x[:, 0].mean((1, 2))
        assert np.allclose(sorted(red[y == 1]), [100 + 20 * i for i in range(count)], atol=3)
        for first in range(2, len(y) + 1):
            assert np.ptp(np.bincount(y[:first], minlength=2)) <= 1, "the first images are of all classes"
    grey = splits.train_x[(splits.train_y == 0) & (splits.train_x[:, 2].mean((1, 2)) < 20)]
    assert len(grey) == 1 and (grey[0, 0] == grey[0, 1]).all() and (grey[0, 0] == grey[0, 2]).all()


@pytest.mark.parametrize(
    ("name", "files", "pack"),
    [("caltech101", CALTECH, caltech_archive), ("imagenette", IMAGENETTE, imagenette_archive)],
)
def test_archives_hold_the_same(
    name: str, files: dict[str, bytes], pack: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = load_named(name, write(tmp_path / "a", files))
    (tmp_path / "b").mkdir()
    pack(tmp_path / "b", monkeypatch)
    archive = load_named(name, tmp_path / "b")
    assert (folder.train_x == archive.train_x).all() and (folder.test_y == archive.test_y).all()
    module = catalog.find_entry("dataset", name)
    paths = module.load_raw_files()
    assert sorted(paths(tmp_path / "a")) == sorted(tmp_path / "a" / f for f in files if "/._" not in f)
    assert paths(tmp_path / "b") == [], "the archive is verified by its checksum"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("caltech101", r"caltech-101\.zip \(137,414,764 bytes, md5 3138e192"),
        ("imagenette", r"imagenette2\.tgz \(1,557,161,267 bytes, md5 fe2fc210"),
    ],
)
def test_without_either_the_error_says_what_to_put_where(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=message) as error:
        load_named(name, tmp_path)
    assert str(tmp_path) in str(error.value)


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imagenette2.tgz").write_bytes(tarred(IMAGENETTE))
    with pytest.raises(CorruptFile, match=r"is not imagenette2\.tgz .*it has"):
        load_named("imagenette", tmp_path)
    caltech_archive(tmp_path, monkeypatch, member="elsewhere.tar.gz")
    with pytest.raises(CorruptFile, match=r"not a zip archive with 'caltech-101/101_ObjectCategories\.tar\.gz'"):
        load_named("caltech101", tmp_path)


@pytest.mark.parametrize(
    ("name", "remove", "message"),
    [
        ("caltech101", "caltech101/101_ObjectCategories/a/image_0003.jpg", "holds 9 images of 2 classes, not 10 of 2"),
        ("imagenette", "imagenette2/val/n2/n2_1.JPEG", "holds 3 images in 'val', and should hold 4"),
    ],
)
def test_a_folder_that_lacks_an_image(name: str, remove: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, CALTECH | IMAGENETTE)
    (tmp_path / remove).unlink()
    with pytest.raises(CorruptFile, match=message):
        load_named(name, tmp_path)


def test_a_folder_that_lacks_a_class(tmp_path: Path) -> None:
    write(tmp_path, {name: data for name, data in IMAGENETTE.items() if "/n2/" not in name})
    with pytest.raises(CorruptFile, match="lacks the folder 'train/n2'"):
        load_named("imagenette", tmp_path)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    write(tmp_path, {**IMAGENETTE, "imagenette2/train/n1/n1_2.JPEG": picture(3)[:200]})
    with pytest.raises(CorruptFile, match=r"n1_2\.JPEG' is not a whole image"):
        load_named("imagenette", tmp_path)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (231, 230), (257, 256)])
def test_photographs_are_resized_as_torchvision_does(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = center_crop(resize(Image.fromarray(pixels), [256]), [224])
    assert (read_photographs([tmp_path / "x.png"])[0] == np.asarray(expected).transpose(2, 0, 1)).all()
