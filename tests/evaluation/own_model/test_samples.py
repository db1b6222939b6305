"""Samples from files: what cannot be read as it is meant is refused with a sentence, and what was done is noted."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from torch import nn

from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.evaluation.own_model.samples import Samples, note_other_classes, read_samples

LEVELS = (np.arange(64) % 5).reshape(8, 8)


def folder_of(path: Path, image: Image.Image, ending: str, **options: Any) -> Path:
    """A folder with one class and one image."""
    (path / "only").mkdir(parents=True)
    image.save(path / f"only/1{ending}", **options)
    return path


def tiff_of_bits(bits: int) -> Callable[[Path], Path]:
    """A grey TIFF of so many bits, whose header is written by hand: Pillow writes only 8, 16 and 32."""

    def write(path: Path) -> Path:
        (path / "only").mkdir(parents=True)
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        pixels = np.zeros(8 * 8 * bits // 8, np.uint8).tobytes()
        for tag, value in ((256, 8), (257, 8), (258, bits), (259, 1), (262, 1), (277, 1), (278, 8), (279, len(pixels))):
            tags[tag] = value
        tags[273] = 8  # as long as the address that comes
        tags[273] = 8 + len(tags.tobytes(8))
        header = b"II*\0" + (8).to_bytes(4, "little") + tags.tobytes(8)
        (path / "only/1.tif").write_bytes(header + pixels)
        return path

    return write


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        (lambda p: folder_of(p, Image.fromarray((LEVELS / 5).astype(np.float32)), ".tif"), "F"),
        (lambda p: folder_of(p, Image.fromarray(LEVELS.astype(np.int32)), ".tif"), "I"),
        (lambda p: folder_of(p, Image.new("LAB", (8, 8)), ".tif"), "LAB"),
        (tiff_of_bits(12), "I;16"),
    ],
    ids=["float", "32 bits", "LAB", "12 bits"],
)
def test_pixels_of_an_unknown_range_are_refused(make: Callable[[Path], Path], mode: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mode {mode}, whose range is not known"):
        read_samples(make(tmp_path / "images"))


@pytest.mark.parametrize(
    ("image", "ending", "most"),
    [
        (Image.fromarray(LEVELS.astype(np.uint8)), ".png", 255),
        (Image.fromarray(LEVELS.astype(np.uint16)), ".png", 65535),
        (Image.fromarray(LEVELS.astype(np.uint16)), ".tif", 65535),
        (Image.fromarray(LEVELS.astype(np.int32)), ".pgm", 65535),
        (Image.fromarray(np.stack([LEVELS.astype(np.uint8)] * 3, -1)), ".bmp", 255),
    ],
    ids=["8 bits", "16 bits", "16 bits, TIFF", "16 bits, PGM", "colour"],
)
def test_values_are_divided_by_what_the_note_says(image: Image.Image, ending: str, most: int, tmp_path: Path) -> None:
    found = read_samples(folder_of(tmp_path / "images", image, ending))
    assert found.notes == (f"values divided by {most}",)
    torch.testing.assert_close(found.x[0, 0].double() * most, torch.from_numpy(LEVELS).double())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0", "1", "10", "2"], "'10' has label 2, '2' has label 3"),
        (["0", "2", "3"], "'2' has label 1, '3' has label 2"),
        (["1", "2"], "'1' has label 0, '2' has label 1"),
        (["0", "1", "2"], None),
        (["00", "01"], None),
        (["cat", "dog"], None),
        (["1", "dog"], None),
    ],
)
def test_folders_whose_numbers_are_not_their_labels_are_noted(
    names: list[str], said: str | None, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "1.png")
    found = read_samples(tmp_path)
    assert found.classes == tuple(names)
    assert (said in " ".join(found.notes)) if said else len(found.notes) == 1


@pytest.mark.parametrize(
    ("classes", "model", "noted"),
    [
        (("a", "b", "c"), nn.Linear(4, 5), True),
        (("a", "b", "c"), nn.Linear(4, 5).double(), True),
        (("a", "b", "c"), nn.Linear(4, 3), False),
        ((), nn.Linear(4, 3), False),
        (("a", "b"), nn.Linear(7, 3), False),
    ],
    ids=["more", "in float64", "as many", "no folders", "a model that fails"],
)
def test_another_number_of_classes_is_noted(classes: tuple[str, ...], model: nn.Module, noted: bool) -> None:
    samples = Samples(torch.rand(6, 4), torch.arange(6) % 2, "images", classes)
    assert bool(note_other_classes(samples, model.eval())) == noted


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_of(tmp_path / "images", Image.new("L", (64, 64)), ".png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"'.*1.png' is refused, it may be made to fill the memory"):
        read_samples(path)


def arrays(x: Any, y: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, x=x, y=y)


def damaged(where: int | None, cut: bool) -> Callable[[Path], None]:
    """An .npz that ends, or has another byte, there."""

    def write(path: Path) -> None:
        np.savez_compressed(path, x=np.random.default_rng(0).random((4, 3)), y=np.arange(4))
        content = bytearray(path.read_bytes())
        at = len(content) // 2 if where is None else where
        if cut:
            del content[at:]
        else:
            content[at] ^= 255
        path.write_bytes(content)

    return write


def single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 2)))


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "no array")
        archive.writestr("y.npy", "no array")


@pytest.mark.parametrize(
    ("write", "said", "kind"),
    [
        (damaged(None, cut=True), "not an .npz of plain arrays, or damaged", CorruptFile),
        (damaged(60, cut=False), "not an .npz of plain arrays, or damaged", CorruptFile),
        (damaged(0, cut=True), "not an .npz of plain arrays, or damaged", CorruptFile),
        (zip_of_text, "not an .npz of plain arrays, or damaged", CorruptFile),
        (single_array, "holds a single array", UserError),
        (arrays(np.float32(1), np.arange(1)), r"x must have a dimension for the samples", UserError),
        (arrays(np.zeros(3), np.arange(3)), r"x must have a dimension for the samples", UserError),
        (arrays(np.zeros((2, 2)), np.int64(0)), "2 inputs and 1 labels", UserError),
        (arrays(np.zeros((4, 2)), np.arange(3)), "4 inputs and 3 labels", UserError),
        (arrays(np.zeros((0, 2)), np.arange(0)), "has no samples", MissingData),
        (arrays(np.zeros((2, 2), complex), np.arange(2)), "must be floating numbers or uint8", UserError),
    ],
)
def test_arrays_that_are_no_samples_are_a_sentence(
    write: Callable[[Path], None], said: str, kind: type[UserError], tmp_path: Path
) -> None:
    write(tmp_path / "a.npz")
    with pytest.raises(kind, match=said):
        read_samples(tmp_path / "a.npz", 2)


@pytest.mark.parametrize(
    ("content", "said", "kind"),
    [
        ("ä,y\n1,2\n".encode("latin-1"), "not text in UTF-8", CorruptFile),
        ("a,y\n1,2\n".encode("utf-16"), "not text in UTF-8", CorruptFile),
        (b"a,y\n" + b"1" * 200_000 + b",2\n", "cannot be read as CSV: field larger than", CorruptFile),
        (b"y\n1\n", "no column besides that of the labels", UserError),
        (b"a,y\n \n\t\n", "has no samples", MissingData),
        (b"a,y\n,\n", "must hold numbers", UserError),
    ],
)
def test_text_that_is_no_table_is_a_sentence(content: bytes, said: str, kind: type[UserError], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(kind, match=said):
        read_samples(tmp_path / "a.csv")


def test_empty_lines_of_a_table_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.CSV").write_text("a,b,y\n0.5,1,2\n\n0,0.25,1\n   \n")
    found = read_samples(tmp_path / "a.CSV")
    assert found.x.tolist() == [[0.5, 1], [0, 0.25]] and found.y.tolist() == [2, 1]
