"""The idx format of MNIST: two zero bytes, a type (8: uint8), the number of dimensions, their sizes, the values.

Sizes are big-endian int32. Files are compressed with gzip or not.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustscape.data.download import RemoteFile, obtain_files
from robustscape.data.splits import Array
from robustscape.errors import CorruptFile


def decode_idx(content: bytes) -> Array:
    """Return the uint8 array of an idx file.

    >>> decode_idx(encode_idx(np.array([[1, 2]], dtype=np.uint8))).tolist()
    [[1, 2]]

    Raises:
        ValueError: ``content`` is not an idx file of bytes; the message says why.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"an idx file of bytes begins with 000008, this one with {content[:3].hex() or 'nothing'}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError("its header is cut short")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise ValueError(f"it holds {len(content) - start:,} values, its header says {' x '.join(map(str, shape))}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def encode_idx(array: Array) -> bytes:
    """Return the content of an idx file that holds a uint8 array."""
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def decompressed_content(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if it is gzip.

    Raises:
        CorruptFile: the gzip is cut short or altered.
    """
    raw = path.read_bytes()
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(
            f"'{path}' is not a whole gzip file: {error}. Delete it; the next run gets it again."
        ) from None


def read_idx_files(
    dataset: str, files: Sequence[RemoteFile], folders: Sequence[Path]
) -> tuple[Array, Array, Array, Array]:
    """Return training images and labels, test images and labels: uint8 (N, 1, H, W) and int64 (N,).

    Each file is taken, compressed or not, from the first folder that has it, or downloaded to the first folder. Its
    decompressed content is verified, since compressed forms differ.

    Args:
        dataset: name of the data set, for errors.
        files: training images, training labels, test images, test labels.
        folders: folders to look in.

    Raises:
        MissingData: a file is missing and cannot be downloaded.
        CorruptFile: a file is not the publisher's.
    """
    found = {file.name: _locate(file, folders) for file in files}
    obtain_files(dataset, [file for file in files if found[file.name] is None], folders[0])
    arrays = [_verified_array(found[file.name] or folders[0] / file.name, file) for file in files]
    train_x, train_y, test_x, test_y = arrays
    return train_x[:, None], train_y.astype(np.int64), test_x[:, None], test_y.astype(np.int64)


def _locate(file: RemoteFile, folders: Sequence[Path]) -> Path | None:
    names = (file.name, file.name.removesuffix(".gz"))
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


def _verified_array(path: Path, file: RemoteFile) -> Array:
    raw = decompressed_content(path)
    md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if md5 != file.content_md5:
        page = "it is a web page (HTML)" if raw.lstrip()[:1] == b"<" else f"the md5 of its content is {md5}"
        raise CorruptFile(
            f"'{path}' is not the publisher's {file.name}: {page} instead of {file.content_md5}."
            " Delete it; the next run downloads it again."
        )
    try:
        return decode_idx(raw)
    except ValueError as error:
        raise CorruptFile(f"'{path}' is not an idx file: {error}.") from None
