"""Write files so that they are either whole or not there (contract 5).

A file is written under a temporary name in its own folder, flushed to the disk, and renamed: POSIX renames within a
file system are atomic, so whoever opens the final name finds the old content or the new, never a part. The folder is
flushed too, or a power cut could undo the rename.

The temporary file is locked while it is being written. The kernel drops the lock of a process that dies, so the next
writer of the same file can tell what a kill left behind from what another process is writing, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustscape.errors import UserError

_PREFIX = ".partial-"
_TOKEN = 16

#: Errors of a full device; wherever in a block they are raised, they concern the file being written.
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it would be larger than files may be here",
}

_REASONS = _FULL | {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the folder is read-only for this user",
    errno.EPERM: "the folder is read-only for this user",
    errno.EISDIR: "there is a folder of that name",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path``, all of it or nothing.

    Raises:
        UserError: the disk is full, the folder read-only or the path impossible.
    """
    with publish_file(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` in UTF-8, with its newlines unchanged; see ``write_bytes``."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON, its keys in the order given.

    Raises:
        ValueError: ``content`` holds NaN or infinity, which are not JSON.
        UserError: as ``write_bytes``.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def publish_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes ``path`` when the block ends, and is removed if the block raises.

    The temporary name ends like the final one, because writers choose formats by suffix. Folders are made as needed. A
    link at ``path`` is replaced, not followed, so that a file shared through DVC's cache never changes under its other
    names.

    Raises:
        UserError: the disk is full, the folder read-only or the path impossible; ``path`` is as it was.
    """
    path = Path(path)
    with _sentences(path, _REASONS):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, descriptor = _create(path)
    try:
        with _sentences(path, _FULL):
            yield partial
        with _sentences(path, _REASONS):
            _flush(partial)
            os.replace(partial, path)
            _flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def _sentences(path: Path, reasons: dict[int, str]) -> Iterator[None]:
    """Turn errors of the operating system into a ``UserError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in reasons:
            raise UserError(f"cannot write '{path}': {reasons[error.errno]}. Nothing was changed.") from error
        raise


def _create(path: Path) -> tuple[Path, int]:
    """Return a new locked file beside ``path`` and its descriptor; remove what dead writers of ``path`` left."""
    for name in os.listdir(path.parent):
        if name.startswith(_PREFIX) and name[len(_PREFIX) + _TOKEN :] == f"-{path.name}":
            _remove_abandoned(path.with_name(name))
    while True:
        partial = path.with_name(f"{_PREFIX}{secrets.token_hex(_TOKEN // 2)}-{path.name}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: leftovers stay, nothing else is lost
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else another writer removed it as a leftover before it was locked
            return partial, descriptor
        os.close(descriptor)


def _remove_abandoned(partial: Path) -> None:
    """Remove a temporary file unless a living process is writing it."""
    with contextlib.suppress(OSError):  # still locked, or gone already
        descriptor = os.open(partial, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
        finally:
            os.close(descriptor)


def _flush(path: Path) -> None:
    """Have the kernel write a file's content to the disk. The file is opened anew, because the writer may have replaced it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Do the same for the names in a folder; errors of network file systems that cannot do so are ignored."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise
