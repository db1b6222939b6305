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
from robustscape.evaluation.own_model.notes import Doubt
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


def images_at(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / path)
    return root


@pytest.mark.parametrize(
    ("paths", "right"),
    [
        (("train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/2.png"), "test"),
        (("train/cat/1.png", "train/dog/1.png", "val/cat/1.png"), "val"),
        (("Test/cat/1.png",), "Test"),
        (("b/cat/1.png", "b/dog/1.png", "a/cat/1.png"), "a"),
        (("cat/1.png", "dog/1.png"), None),
        (("cat/images/1.png", "dog/images/1.png"), None),
        (("cat/1.png", "cat/more/2.png", "dog/a/1.png", "dog/b/1.png"), None),
    ],
)
def test_a_folder_one_level_too_high_is_refused(paths: tuple[str, ...], right: str | None, tmp_path: Path) -> None:
    """Else train/ and test/ would be two classes, and accuracies those of labels 0 and 1."""
    root = images_at(tmp_path, *paths)
    if right is None:
        assert read_samples(root).classes == ("cat", "dog")
        return
    with pytest.raises(UserError, match=rf"is a level too high: .* Give '.*/{right}', whose folders are the classes"):
        read_samples(root)
    read_samples(root / right)


def test_integers_of_a_small_scale_are_not_called_pixels(tmp_path: Path) -> None:
    """Those of scikit-learn's digits are from 0 to 16; as uint8 they would be divided by 255."""
    digits = np.array([[0, 16], [3, 7]])
    np.savez(tmp_path / "a.npz", x=digits, y=np.arange(2))
    with pytest.raises(UserError, match="if these are on a scale that reaches 16, divide by its largest value"):
        read_samples(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=digits.astype(np.uint8), y=np.arange(2))
    (note,) = read_samples(tmp_path / "b.npz").notes
    assert isinstance(note, Doubt) and "divided by 255, though the largest is 16" in note
    np.savez(tmp_path / "c.npz", x=(digits * 15).astype(np.uint8), y=np.arange(2))
    assert not any(isinstance(note, Doubt) for note in read_samples(tmp_path / "c.npz").notes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_inputs_of_a_file_are_divided_by_the_scale_given(dtype: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([[0, 16], [4, 8]], dtype), y=np.arange(2))
    (tmp_path / "a.csv").write_text("a,b,y\n0,16,0\n4,8,1\n")
    for name in ("a.npz", "a.csv"):
        found = read_samples(tmp_path / name, scale=16)
        assert found.x.tolist() == [[0, 1], [0.25, 0.5]] and found.notes == ("values divided by 16",)
        with pytest.raises(UserError, match=r"x goes from 0 to 16, which is not in \[0, 15\]"):
            read_samples(tmp_path / name, scale=15)
        with pytest.raises(UserError, match="allowed is a finite number above 0"):
            read_samples(tmp_path / name, scale=0)
    with pytest.raises(UserError, match="divided by what their format can hold"):
        read_samples(images_at(tmp_path / "images", "a/1.png"), scale=255)


def test_what_is_hidden_is_passed_over_and_counted(tmp_path: Path) -> None:
    """A notebook keeps copies of images, macOS and NAS keep files of their own: none is a class or an image."""
    root = images_at(tmp_path / "a", "cat/1.png", "dog/1.png", "dog/sub/2.png")
    assert read_samples(root).notes == ("values divided by 255",)
    images_at(root, ".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1-checkpoint.png", "dog/sub/.trash/deep/3.png")
    images_at(root, "__MACOSX/cat/1.png", "cat/@eaDir/1.png")
    for name in (".DS_Store", "cat/.DS_Store", "cat/._1.png"):
        (root / name).write_bytes(b"no image")
    found = read_samples(root)
    assert found.classes == ("cat", "dog") and found.y.tolist() == [0, 1, 1]
    (note,) = (note for note in found.notes if "passed over" in note)
    assert note.startswith("passed over 8 hidden files and folders (.DS_Store, ._1.png, .ipynb_checkpoints, .trash")
    assert not isinstance(note, Doubt)


def test_images_that_are_not_read_are_doubts(tmp_path: Path) -> None:
    root = images_at(tmp_path / "a", "cat/1.png", "loose.png", "cat/2.gif", "cat/3.gif")
    (root / "cat/notes.txt").write_text("no image")
    doubts = [note for note in read_samples(root).notes if isinstance(note, Doubt)]
    assert doubts == [
        "passed over 1 images that are in no folder of a class (loose.png)",
        "passed over 2 files of formats that are not read (.gif)",
    ]


def csv_of(path: Path, header: str, rows: list[list[float]]) -> Path:
    path.write_text("\n".join([header, *(",".join(f"{value:g}" for value in row) for row in rows)]))
    return path


@pytest.mark.parametrize("header", ["a,y,label", "class,a,Target", "a,y,y", "Y,LABEL,a"])
def test_a_second_column_of_labels_is_asked_for(header: str, tmp_path: Path) -> None:
    """It would be a pixel, from which the class can be read."""
    path = csv_of(tmp_path / "a.csv", header, [[1, 0, 0], [0, 1, 1]])
    with pytest.raises(UserError, match=r"has 2 columns that may hold the labels.*--label-column"):
        read_samples(path)


def test_the_column_of_labels_can_be_named(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "a.csv", "x,y,kind", [[0.5, 0.25, 0], [0, 1, 1]])
    found = read_samples(path, label_column="kind")
    assert found.x.tolist() == [[0.5, 0.25], [0, 1]] and found.y.tolist() == [0, 1]
    assert any(isinstance(note, Doubt) and "the column 'y' is taken for an input" in note for note in found.notes)
    with pytest.raises(UserError, match="has no column 'sort'; it has x, y, kind"):
        read_samples(path, label_column="sort")
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.arange(2))
    for other in ("a.npz", ""):
        with pytest.raises(UserError, match=r"a column of labels is for a .csv"):
            read_samples(tmp_path / other, label_column="kind")


@pytest.mark.parametrize(
    ("header", "numbers", "refused"),
    [
        ("a,b,y", range(6), "the column 'a', of 0, 1, 2, ..., seems to number the rows"),
        ("a,b,y", range(1, 7), "the column 'a', of 1, 2, 3, ..., seems to number the rows"),
        ("a,b,y", [(7 * n) % 24 for n in range(24)], "the column 'a', of 0, 7, 14, ..., seems to number the rows"),
        (",b,y", [9, 5], "column 1, which has no name, seems to number the rows"),
        ("Id,b,y", [9, 5], "the column 'Id' seems to number the rows"),
        ("a,b,y", [0, 1, 2], None),
        ("a,b,y", [2, 1, 0, 3, 4, 5], None),
        ("a,b,y", [0, 1, 2, 3, 4, 5, 5], None),
    ],
)
def test_a_column_that_numbers_the_rows_is_no_input(
    header: str, numbers: list[int], refused: str | None, tmp_path: Path
) -> None:
    path = csv_of(tmp_path / "a.csv", header, [[number, 3, 0] for number in numbers])
    if refused is None:
        assert read_samples(path, scale=255).x.shape == (len(numbers), 2)
        return
    with pytest.raises(UserError, match=refused):
        read_samples(path, 2, scale=255)


def test_labels_may_number_the_rows(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "a.csv", "y,b", [[number, 0.5] for number in range(6)])
    assert read_samples(path).y.tolist() == list(range(6))


def test_a_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,b,y\ncat.png,1,0\n")
    with pytest.raises(UserError, match=r"sample 1 has 'cat.png' in column 'file'"):
        read_samples(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("a,y\n1,0\n0,1.5\n")
    with pytest.raises(UserError, match=r"sample 2 has '1.5' in column 'y'"):
        read_samples(tmp_path / "a.csv")


def test_further_arrays_of_a_file_are_doubts(tmp_path: Path) -> None:
    """A mask, or another split, that is passed over in silence would be a number of other samples than were meant."""
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.arange(2), mask=np.zeros(2), x_test=np.ones((2, 2)))
    (note,) = (note for note in read_samples(tmp_path / "a.npz").notes if isinstance(note, Doubt))
    assert note == "x and y are read; passed over the other arrays of the file, mask, x_test"


def test_the_first_samples_of_a_sorted_file_are_doubted(tmp_path: Path) -> None:
    x, y = np.zeros((40, 1, 2, 2), np.float32), np.repeat(np.arange(4), 10)
    np.savez(tmp_path / "sorted.npz", x=x, y=y)
    notes = read_samples(tmp_path / "sorted.npz", 8).notes
    assert any("the first 8 of 40 samples are of 1 of 4 classes" in note for note in notes)
    np.savez(tmp_path / "mixed.npz", x=x, y=np.tile(np.arange(4), 10))
    assert not any("classes" in note for note in read_samples(tmp_path / "mixed.npz", 8).notes)
    assert not any("classes" in note for note in read_samples(tmp_path / "sorted.npz").notes)
