"""Samples from anywhere: a folder of images, an .npz, a .csv; as float32 inputs in [0, 1] and labels."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import device_of
from robustscape.errors import CorruptFile, MissingData, UserError, near_path_hint
from robustscape.evaluation.harness.inputs import TEST_SAMPLES, check_labels
from robustscape.evaluation.own_model.notes import Doubt

if TYPE_CHECKING:
    from PIL import Image

#: Endings of files that are read as images.
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

#: Modes of Pillow with one channel of 8 bits or fewer, and those that are converted to red, green and blue of 8 bits each.
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")

#: A largest value above it is taken for that of a scale up to 255; below, the scale may be another, such as 0 to 16.
BYTE_SCALE = 128

#: Names of folders that are parts of a data set, the one to attack first.
_PARTS = ("test", "testing", "val", "valid", "validation", "train", "training")

#: Names of the column of a CSV that holds labels, and of those that number the rows; the case of letters does not count.
LABELS = ("y", "label", "labels", "target", "targets", "class")
_INDEXES = ("", "index", "id", "idx", "unnamed: 0")

#: What others write between values, and its name.
_NO_COMMAS = {";": "semicolons", "\t": "tabs"}

#: Fewest rows whose values 0, 1, 2, ... number them: in this order, and in any.
_COUNTED, _SHUFFLED = 5, 20

#: Folders that systems make beside those of the user, and files of images that are not read.
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
_OTHER_IMAGES = (".gif", ".jfif", ".jp2", ".avif", ".heic", ".heif", ".npy", ".jpe", ".pbm", ".tga")


@dataclass(frozen=True)
class Samples:
    """Inputs, labels, and where they come from."""

    x: Tensor
    """float32, (N, ...)."""
    y: Tensor
    """int64, (N,)."""
    source: str
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ..., if they have any."""
    notes: tuple[str, ...] = field(default=())
    """What was done to the values."""


def read_samples(
    path: str | Path, limit: int | None = None, scale: float | None = None, label_column: str | None = None
) -> Samples:
    """Return the samples of a folder of images, an .npz or a .csv.

    Args:
        path: a folder with a folder of images for each class (the layout of torchvision's ImageFolder, classes in the order of
            their names; hidden files and folders are passed over); an .npz with ``x`` and ``y``; a .csv of
            which one column, named ``y``, ``label``, ``labels``, ``target``, ``targets`` or ``class``, holds the class, and
            all others the input: a flat row, so that x is (N, D).
        limit: the first samples of a file; of a folder as many of each class as possible; None: all.
        scale: the largest value that the inputs of a file can have, such as 255, by which they are divided; None: uint8 is
            divided by 255, and floating numbers are in [0, 1]. Images are divided by what their format can hold.
        label_column: name of the column of a .csv that holds the class; None: the one that is named as such.

    Raises:
        MissingData: there is no such file or folder, or nothing in it.
        UserError: its content is not as described.
    """
    path = Path(path)
    if scale is not None and not 0 < scale < float("inf"):
        raise UserError(f"the scale of inputs got {scale:g}, allowed is a finite number above 0.")
    if label_column is not None and (path.is_dir() or path.suffix.lower() != ".csv"):
        raise UserError(f"a column of labels is for a .csv, and '{path}' is none.")
    if path.is_dir():
        if scale is not None:
            raise UserError(
                f"the images of '{path}' are divided by what their format can hold; a scale is for .npz and .csv."
            )
        return _read_folder(path, limit)
    if not path.exists():
        raise MissingData(f"there is no file or folder '{path}'.{near_path_hint(path)}")
    if path.suffix.lower() == ".npz":
        return _read_npz(path, limit, scale)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, limit, scale, label_column)
    raise UserError(f"'{path}' is neither a folder of images nor an .npz or .csv file.")


def note_other_classes(samples: Samples, model: nn.Module) -> list[str]:
    """Return a note if the model, in eval mode, has more or fewer classes than the samples; else an empty list.

    Labels of a folder are counted from the folders in it, so an absent one shifts all after it. A model that
    fails is not judged here.
    """
    from robustscape.evaluation.own_model.call import matching_dtype

    if not samples.classes:
        return []
    sample = matching_dtype(model, samples.x[:TEST_SAMPLES]).to(device_of(model, samples.x), copy=True)
    try:
        with torch.no_grad():
            answer = model(sample)
    except Exception:  # whatever the model's code raises: the evaluation says it
        return []
    if not isinstance(answer, Tensor) or answer.dim() != 2 or answer.shape[1] == len(samples.classes):
        return []
    return [
        Doubt(
            f"the data have {len(samples.classes)} classes, but the model has {answer.shape[1]}; if the folder of a class is "
            "absent, the labels after it are shifted: make it, empty"
        )
    ]


def _read_folder(folder: Path, limit: int | None) -> Samples:
    """A folder for each class; what is hidden, such as the ``._*`` of macOS, is passed over and counted, links are followed."""
    beside = sorted(folder.iterdir())
    names = [p.name for p in beside if p.is_dir() and not _is_hidden(p.name)]
    if not names:
        raise MissingData(f"'{folder}' has no folder for each class, such as '{folder}/cat/1.png'.")
    found = [sorted((folder / name).rglob("*")) for name in names]
    shown = [[p for p in paths if not _below_hidden(p, folder / n)] for n, paths in zip(names, found, strict=True)]
    files = [[p for p in paths if p.suffix.lower() in IMAGES] for paths in shown]
    rounds = max(map(len, files))
    _refuse_level_above(folder, names, files)
    order = [(label, row) for row in range(rounds) for label in range(len(names)) if row < len(files[label])]
    if not order:
        raise MissingData(f"'{folder}' has folders of classes, but no image in them ({', '.join(IMAGES)}).")
    chosen = sorted(order[:limit])
    images = [_read_image(files[label][row]) for label, row in chosen]
    arrays = [levels for levels, _ in images]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        two = " and ".join(f"{height}x{width}, {channels} channels" for channels, height, width in sorted(sizes)[:2])
        raise UserError(f"the images of '{folder}' must have one size and number of channels, got {two}.")
    empty = [name for name, images in zip(names, files, strict=True) if not images]
    notes = [
        f"values divided by {' and '.join(str(most) for most in sorted({most for _, most in images}))}",
        *([f"no image of class {', '.join(empty)}"] if empty else []),
        *_passed_over(folder, beside, [p for paths in found for p in paths], [p for paths in shown for p in paths]),
        *_numbered_otherwise(names),
    ]
    labels = torch.tensor([label for label, _ in chosen])
    return Samples(torch.from_numpy(np.stack(arrays)), labels, str(folder), tuple(names), tuple(notes))


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, such as ``.ipynb_checkpoints``, or one that a system makes for itself."""
    return name.startswith(".") or name in _OF_SYSTEMS


def _below_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below ``folder`` is hidden, or lies in something that is: copies of images, which may be edited."""
    return any(_is_hidden(part) for part in path.relative_to(folder).parts)


def _passed_over(folder: Path, beside: list[Path], found: list[Path], shown: list[Path]) -> list[str]:
    """Notes on files that are not read: hidden ones, images beside the folders of classes, images of other formats.

    Args:
        folder: the folder of classes.
        beside: what is in it.
        found: what is in the folders of classes, at any depth.
        shown: what of it is not hidden.
    """
    hidden = [p for p in beside if _is_hidden(p.name)]
    hidden += [p for p in found if _is_hidden(p.name) and not _below_hidden(p.parent, folder)]
    loose = [
        p for p in beside if p.is_file() and not _is_hidden(p.name) and p.suffix.lower() in (*IMAGES, *_OTHER_IMAGES)
    ]
    other = [p for p in shown if p.suffix.lower() in _OTHER_IMAGES]
    notes: list[str] = []
    if hidden:
        names = sorted({p.name for p in hidden})
        notes.append(f"passed over {len(hidden)} hidden files and folders ({', '.join(names[:4])})")
    if loose:
        notes.append(Doubt(f"passed over {len(loose)} images that are in no folder of a class ({loose[0].name})"))
    if other:
        endings = ", ".join(sorted({p.suffix.lower() for p in other}))
        notes.append(Doubt(f"passed over {len(other)} files of formats that are not read ({endings})"))
    return notes


def _refuse_level_above(folder: Path, names: list[str], files: list[list[Path]]) -> None:
    """Refuse a folder whose folders are not classes but hold those of classes, such as train/ and test/.

    A class may keep its images in a folder within its own, a single one; no image may then be beside it.

    Raises:
        UserError: with the folder to give.
    """
    found = [(folder / name, images) for name, images in zip(names, files, strict=True) if images]
    below = {
        path: {image.relative_to(path).parts[0] for image in images if image.parent != path} for path, images in found
    }
    if any(image.parent == path for path, images in found for image in images):
        return
    if not any(len(inner) > 1 or path.name.lower() in _PARTS for path, inner in below.items()):
        return
    parts = sorted(below, key=lambda path: (_PARTS.index(n) if (n := path.name.lower()) in _PARTS else len(_PARTS), n))
    first = parts[0]
    raise UserError(
        f"'{folder}' is a level too high: its folders {', '.join(path.name for path in parts[:4])} hold no image, but folders "
        f"({', '.join(sorted(below[first])[:4])}). Give '{first}', whose folders are the classes."
    )


def _numbered_otherwise(names: list[str]) -> list[str]:
    """A note if folders are named by numbers that are not their labels: one is absent, they begin at 1, or 10 is before 2."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return []
    others = [f"'{name}' has label {label}" for label, name in enumerate(names) if int(name) != label]
    if not others:
        return []
    return [
        Doubt(
            f"labels follow the order of the folders' names, not the numbers they spell: {', '.join(others[:4])}"
            f"{f' and {len(others) - 4} more' if len(others) > 4 else ''}"
        )
    ]


def _read_image(path: Path) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    """An image as float32 in [0, 1], (C, H, W), and the largest value its format can hold, by which it was divided.

    It has one channel if it is grey, else red, green and blue.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode = image.mode
            most = 65535 if _has_16_bits(image) else 255 if mode in (*_GREY, *_COLOUR) else None
            if most == 65535:
                levels = np.asarray(image, dtype=np.float64)[None]
            elif mode in _GREY:
                levels = np.asarray(image.convert("L"), dtype=np.float64)[None]
            elif most is not None:
                levels = np.asarray(image.convert("RGB"), dtype=np.float64).transpose(2, 0, 1)
    except Image.DecompressionBombError as error:
        raise UserError(f"'{path}' is refused, it may be made to fill the memory: {_reason(error)}") from None
    except Exception as error:  # whatever damaged content provokes in a decoder
        raise CorruptFile(f"'{path}' is not an image, or damaged: {_reason(error)}") from None
    if most is None:
        raise UserError(
            f"'{path}' has pixels of Pillow's mode {mode}, whose range is not known; images of 8 bits per channel, or of 16 bits "
            "of grey, can be read. Save arrays as .npz, with x in [0, 1]."
        )
    return (levels / most).astype(np.float32), most


def _has_16_bits(image: Image.Image) -> bool:
    """Whether it is grey with values from 0 to 65535. TIFF also has 12 bits, and 32, in the modes of 16."""
    from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

    if isinstance(image, TiffImageFile):
        return image.mode.startswith("I;16") and image.tag_v2.get(BITSPERSAMPLE) == (16,)
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _reason(error: BaseException) -> str:
    """What an error says, in one line that ends with a full stop."""
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".") + "."


def _read_npz(path: Path, limit: int | None, scale: float | None) -> Samples:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"'{path}' holds a single array, as numpy.save writes it; save x and y with numpy.savez.")
        with content:
            found = {name: content[name] for name in content.files if name in ("x", "y")}
            names = content.files
        if not all(isinstance(array, np.ndarray) for array in found.values()):  # numpy gives other content as bytes
            raise ValueError("x or y is no array")
    except UserError:
        raise
    except Exception as error:  # whatever damaged content provokes: BadZipFile, zlib.error, MemoryError, ...
        raise CorruptFile(f"'{path}' is not an .npz of plain arrays, or damaged: {_reason(error)}") from None
    if set(found) != {"x", "y"}:
        raise UserError(f"'{path}' must hold the arrays x and y, it has {', '.join(names) or 'none'}.")
    samples = _from_arrays(found["x"], found["y"], path, limit, scale)
    others = [name for name in names if name not in found]
    if not others:
        return samples
    note = Doubt(f"x and y are read; passed over the other arrays of the file, {', '.join(others[:4])}")
    return replace(samples, notes=(*samples.notes, note))


def _read_csv(path: Path, limit: int | None, scale: float | None, label_column: str | None) -> Samples:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # a line of nothing but spaces is an empty one
            rows = [row for row in csv.reader(file) if len(row) > 1 or "".join(row).strip()]
    except UnicodeDecodeError as error:
        raise CorruptFile(f"'{path}' is not text in UTF-8 ({_reason(error)[:-1]}); save it as UTF-8.") from None
    except (csv.Error, OSError) as error:
        raise CorruptFile(f"'{path}' cannot be read as CSV: {_reason(error)}") from None
    if len(rows) < 2:
        raise MissingData(f"'{path}' has no samples: a line of names, then a line for each sample.")
    header, body = [name.strip() for name in rows[0]], rows[1:]
    if len(header) == 1 and (found := [word for mark, word in _NO_COMMAS.items() if mark in header[0]]):
        raise UserError(f"'{path}' seems to be separated by {found[0]}; values are separated by commas.")
    column, notes = _column_of_labels(header, path, label_column)
    lengths = {len(row) for row in body} - {len(header)}
    if len(header) < 2:
        raise UserError(f"'{path}' has no column besides that of the labels.")
    if lengths:
        raise UserError(f"'{path}' has lines of {min(lengths)} values, but {len(header)} names.")
    _refuse_indexes(header, body, column, path)
    try:
        x = np.array([row[:column] + row[column + 1 :] for row in body], dtype=np.float64)
        y = np.array([int(row[column]) for row in body])
    except ValueError as error:
        raise UserError(
            f"'{path}' must hold numbers, and integers as labels: {_wrong_cell(header, body, column)}."
        ) from error
    samples = _from_arrays(x, y, path, limit, scale)
    return replace(samples, notes=(*samples.notes, *notes))


def _column_of_labels(header: list[str], path: Path, chosen: str | None) -> tuple[int, list[str]]:
    """Return which column holds the labels, and a doubt if there are others that are named so and are taken for inputs.

    Raises:
        UserError: there is none, or several and none is chosen: one of them would become a part of the inputs.
    """
    named = [position for position, name in enumerate(header) if name.lower() in LABELS]
    if chosen is not None:
        columns = [position for position, name in enumerate(header) if name == chosen]
        if len(columns) != 1:
            has = f"{len(columns)} columns" if columns else "no column"
            raise UserError(f"'{path}' has {has} '{chosen}'; it has {', '.join(header[:4])}, ...")
        others = [header[position] for position in named if position != columns[0]]
        doubt = f"the column {', '.join(map(repr, others))} is taken for an input; if it holds labels too, delete it"
        return columns[0], [Doubt(doubt)] if others else []
    if not named:
        raise UserError(
            f"'{path}' has no column of labels in its first line; name it one of {', '.join(LABELS)}, or say which it is: "
            "label_column, or --label-column."
        )
    if len(named) > 1:
        raise UserError(
            f"'{path}' has {len(named)} columns that may hold the labels, {', '.join(repr(header[n]) for n in named)}, and all "
            "others are inputs; delete those that are neither, and say which it is: label_column, or --label-column."
        )
    return named[0], []


def _refuse_indexes(header: list[str], body: list[list[str]], labels: int, path: Path) -> None:
    """Refuse columns that number the rows, as pandas writes them: they would be inputs.

    Raises:
        UserError: with the column.
    """
    for position, name in enumerate(header):
        if position == labels:
            continue
        if name.lower() in _INDEXES:
            what = f"column '{name}'" if name else f"column {position + 1}, which has no name,"
        elif _numbers_rows([row[position] for row in body]):
            what = f"column '{name}', of {body[0][position]}, {body[1][position]}, {body[2][position]}, ...,"
        else:
            continue
        raise UserError(
            f"'{path}': the {what} seems to number the rows, and all columns but the labels are inputs; delete it (pandas: "
            "to_csv(index=False)), or give it the name of an input, and another order than 0, 1, 2, ..."
        )


def _numbers_rows(cells: list[str]) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..., in this order, or in any if it is long."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return False
    if len(values) < _COUNTED or min(values) not in (0, 1):
        return False
    counted = [min(values) + number for number in range(len(values))]
    return values == counted or (len(values) >= _SHUFFLED and sorted(values) == counted)


def _wrong_cell(header: list[str], body: list[list[str]], labels: int) -> str:
    """The first cell that is no number, or no integer in the column of labels, with its line and column."""
    for number, row in enumerate(body):
        for position, cell in enumerate(row):
            try:
                (int if position == labels else float)(cell)
            except ValueError:
                return f"sample {number + 1} has '{cell}' in column '{header[position]}'"
    return "a cell is too large"


def _from_arrays(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], path: Path, limit: int | None, scale: float | None
) -> Samples:
    """The first samples of arrays as a file holds them; x and y are compared before they are cut."""
    if x.ndim < 2:
        raise UserError(
            f"'{path}': x must have a dimension for the samples and one or more for a sample, got {x.shape}."
        )
    if not x.size:
        raise MissingData(f"'{path}' has no samples: x has the shape {x.shape}.")
    everything = check_labels(y, len(x))
    labels = everything[:limit]
    notes: list[str] = []
    shown, classes = len(labels.unique()), len(everything.unique())
    if shown < min(classes, len(labels)) and shown <= classes // 2:
        notes.append(
            Doubt(
                f"the first {len(labels)} of {len(everything)} samples are of {shown} of {classes} classes; shuffle the file, "
                "or take more of them"
            )
        )
    x = x[:limit]
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        notes.append(
            f"x has the shape {x.shape}; nets of PyTorch take (N, C, H, W): x.transpose(0, 3, 1, 2) if C is last"
        )
    if scale is not None and x.dtype.kind in "fiu":
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > scale:
            raise UserError(
                f"'{path}': x goes from {low:g} to {high:g}, which is not in [0, {scale:g}], the scale given."
            )
        x = (x / np.float64(scale)).astype(np.float32)
        notes.append(f"values divided by {scale:g}")
    elif x.dtype == np.uint8:
        note, high = "x is uint8: values divided by 255", int(x.max())
        if high <= BYTE_SCALE:
            note = Doubt(
                f"{note}, though the largest is {high}; if the scale is another, give it: scale, or --scale-inputs"
            )
        x = (x / np.float64(255)).astype(np.float32)
        notes.append(note)
    elif x.dtype.kind != "f":
        hint = ""
        if x.dtype.kind in "iu" and x.min() >= 0 and x.max() <= 255:
            pixels = x.max() > BYTE_SCALE
            hint = f"; if these are {'pixels in [0, 255]' if pixels else f'on a scale that reaches {x.max()}'}, "
            hint += "save them as uint8" if pixels else "divide by its largest value"
        raise UserError(f"'{path}': x must be floating numbers or uint8, got {x.dtype}{hint}.")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and that is refused by its name
        inputs = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    return Samples(inputs, labels, str(path), (), tuple(notes))
