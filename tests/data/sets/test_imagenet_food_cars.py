"""The loaders of ImageNet, Food-101 and Stanford Cars on small folders and archives of the publishers' layouts."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from robustscape import catalog
from robustscape.config.datasets import DatasetEntry
from robustscape.data import download
from robustscape.data.raw_files import hash_raw_files
from robustscape.data.sets import food101, imagenet, stanford_cars
from robustscape.errors import CorruptFile, MissingData


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 260), (value, 0, 255 - value)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


IMAGENET = {
    f"imagenet/{part}/{name}/{name}_{i}.JPEG": picture(100 * k + 20 * i)
    for part, count in (("train", 3), ("val", 2))
    for k, name in enumerate(("n1", "n2"))
    for i in range(count)
}
FOOD = {f"food-101/images/{dish}/{i}.jpg": picture(100 * k + 20 * i) for k, dish in enumerate("ab") for i in range(3)}
FOOD |= {
    f"food-101/meta/{part}.json": json.dumps({dish: [f"{dish}/{i}" for i in numbers] for dish in "ab"}).encode()
    for part, numbers in (("train", (0, 2)), ("test", (1,)))
}


def cars(folder: Path) -> Path:
    """Two classes; three training images and two test images."""
    files = {f"stanford_cars/cars_train/0000{i}.jpg": picture(40 * i) for i in (1, 2, 3)}
    files |= {f"stanford_cars/cars_test/0000{i}.jpg": picture(100 * i) for i in (1, 2)}
    write(folder, files)
    root = folder / "stanford_cars"
    (root / "devkit").mkdir()
    kind = [("class", "O"), ("fname", "O")]
    train = np.array([(2, "00001.jpg"), (1, "00002.jpg"), (2, "00003.jpg")], dtype=kind)
    savemat(root / "devkit" / "cars_train_annos.mat", {"annotations": train})
    test = np.array([(1, "00001.jpg"), (2, "00002.jpg")], dtype=kind)
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": test})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array(["Audi", "BMW"], dtype=object)})
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of a few images, and no network."""
    monkeypatch.setattr(imagenet, "CLASSES", 2)
    monkeypatch.setattr(imagenet, "PARTS", {"train": 6, "val": 4})
    monkeypatch.setattr(food101, "CLASSES", 2)
    monkeypatch.setattr(food101, "IMAGES", {"train": 2, "test": 1})
    monkeypatch.setattr(stanford_cars, "CLASSES", 2)
    monkeypatch.setattr(stanford_cars, "IMAGES", {"train": 3, "test": 2})

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is off")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "_PAUSE", 0.0)


def reds(x: np.ndarray, y: np.ndarray, label: int) -> list[float]:
    return sorted(x[:, 0].mean((1, 2))[y == label].tolist())


def test_imagenet(tmp_path: Path) -> None:
    splits = imagenet.imagenet(write(tmp_path, IMAGENET))
    assert splits.train_x.shape == (6, 3, 224, 224) and list(splits.classes) == ["n1", "n2"] and splits.official
    assert np.allclose(reds(splits.train_x, splits.train_y, 1), [100, 120, 140], atol=3)
    assert splits.train_y[:2].tolist() in ([0, 1], [1, 0]), "the first images are of all classes"
    fewer = imagenet.imagenet(tmp_path, per_class=1)
    assert len(fewer.train_y) == 2 and len(fewer.test_y) == 4 and not fewer.official
    assert np.allclose(reds(fewer.train_x, fewer.train_y, 1), [100], atol=3)
    (tmp_path / "imagenet/val/n2/n2_1.JPEG").unlink()
    with pytest.raises(CorruptFile, match="holds 3 images of 2 classes, not 4 of 2"):
        imagenet.imagenet(tmp_path)
    with pytest.raises(MissingData, match=r"accept its terms"):
        imagenet.imagenet(tmp_path / "elsewhere")


def test_food101_from_its_folder_and_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = food101.food101(write(tmp_path / "a", FOOD))
    assert splits.train_x.shape == (4, 3, 224, 224) and splits.test_x.shape == (2, 3, 224, 224) and splits.official
    assert np.allclose(reds(splits.train_x, splits.train_y, 1), [100, 140], atol=3)
    assert np.allclose(reds(splits.test_x, splits.test_y, 0), [20], atol=3)
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "food-101.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a" / "food-101", "food-101")
    content = (tmp_path / "b" / "food-101.tar.gz").read_bytes()
    known = replace(food101.ARCHIVE, size=len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(food101, "ARCHIVE", known)
    assert (food101.food101(tmp_path / "b").train_x == splits.train_x).all()
    (tmp_path / "a/food-101/meta/test.json").write_text("{}")
    with pytest.raises(CorruptFile, match="does not list 1 images of each of 2 classes"):
        food101.food101(tmp_path / "a")


def test_stanford_cars(tmp_path: Path) -> None:
    splits = stanford_cars.stanford_cars(cars(tmp_path))
    assert splits.train_x.shape == (3, 3, 224, 224) and list(splits.classes) == ["Audi", "BMW"]
    assert np.allclose(reds(splits.train_x, splits.train_y, 1), [40, 120], atol=3)
    assert np.allclose(reds(splits.test_x, splits.test_y, 0), [100], atol=3)
    (tmp_path / "stanford_cars/devkit/cars_meta.mat").write_bytes(b"no")
    with pytest.raises(CorruptFile, match="is not the publisher's list 'class_names'"):
        stanford_cars.stanford_cars(tmp_path)
    with pytest.raises(MissingData, match="page is gone"):
        stanford_cars.stanford_cars(tmp_path / "elsewhere")


@pytest.mark.parametrize(("name", "files"), [("food101", FOOD), ("stanford_cars", {"stanford_cars/x": b"x"})])
def test_a_changed_file_of_a_folder_is_another_data_set(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    entry = DatasetEntry.model_validate({"dataset": name})
    write(tmp_path, files)
    assert sorted(catalog.find_entry("dataset", name).load_raw_files()(tmp_path)) == sorted(tmp_path / f for f in files)
    before = hash_raw_files(entry, tmp_path)
    first = tmp_path / next(iter(files))
    first.write_bytes(first.read_bytes() + b"x")
    assert before and hash_raw_files(entry, tmp_path) != before
