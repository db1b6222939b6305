"""Raw files of data sets: taken from the user's folder or downloaded, and verified either way.

A download goes to ``NAME.part`` and is renamed when its checksum is right. A transfer that broke, or was killed, is
resumed by an HTTP Range request; mirrors are tried in turn. Jobs that want the same file wait for each other by a lock on
the partial file. Where nothing can be downloaded, the error says which file to put where, with its size and checksum.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from robustscape.errors import CorruptFile, MissingData, UserError

#: Suffix -> first bytes of such files, which tell them from a web page saved under their name.
_MAGIC = {".gz": b"\x1f\x8b", ".mat": b"MATLAB 5.0"}

_CHUNK = 1 << 20
_ATTEMPTS = 4
_TIMEOUT = 30.0
_PAUSE = 1.0


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher distributes it.

    Args:
        name: name of the file, also in the user's folder.
        size: size in bytes.
        md5: MD5 as stated by the publisher or by torchvision. It guards against accidents; making another file with the
            MD5 of a given one is still infeasible, so mirrors over http are safe too.
        urls: mirrors, in the order in which they are tried.
        content_md5: MD5 of the decompressed file, where the same content is distributed in several compressed forms.
    """

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]
    content_md5: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} bytes, md5 {self.md5})"


class _Refused(Exception):
    """A mirror sent something else than the file; another attempt there would not help."""


def obtain_files(dataset: str, files: Sequence[RemoteFile], folder: Path) -> list[Path]:
    """Return the paths of ``files`` in ``folder``, after downloading the missing ones; only downloads are verified here.

    Args:
        dataset: name of the data set, for errors.
        files: the files.
        folder: where they are, or are downloaded to.

    Raises:
        MissingData: some are missing and cannot be downloaded; the message lists them with size, MD5 and address.
    """
    for position, file in enumerate(files):
        if (folder / file.name).exists():
            continue
        try:
            download_file(file, folder)
        except MissingData as error:
            # If one file cannot be downloaded we are probably offline: do not wait for the time-outs of the others.
            missing = [f for f in files[position:] if not (folder / f.name).exists()]
            lines = "".join(f"\n  {f} from {f.urls[0]}" for f in missing)
            raise MissingData(
                f"data set '{dataset}' is incomplete and could not be downloaded. Put into '{folder}':{lines}\n{error}"
            ) from None
    return [folder / file.name for file in files]


def verify_file(path: Path, file: RemoteFile) -> None:
    """Check that ``path`` is the publisher's ``file``.

    Raises:
        CorruptFile: its size, its first bytes or its MD5 are wrong; the message says which.
    """
    with path.open("rb") as stream:
        problem = _problem(stream, file)
    if problem:
        raise CorruptFile(f"'{path}' is not {file}: {problem}. Delete it; the next run downloads it again.")


def _problem(stream: BinaryIO, file: RemoteFile) -> str:
    """Return what is wrong with a file's content, in words; empty if nothing is."""
    stream.seek(0)
    reason = _impostor(stream.read(512), file.name)
    if reason:
        return reason
    size = stream.seek(0, os.SEEK_END)
    if size != file.size:
        return f"it has {size:,} bytes"
    stream.seek(0)
    md5 = hashlib.file_digest(stream, _md5).hexdigest()  # type: ignore[arg-type]
    return "" if md5 == file.md5 else f"its md5 is {md5}"


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)  # machines in FIPS mode refuse it otherwise


def _impostor(start: bytes, name: str) -> str:
    """Return why a file with these first bytes is not what its suffix says; empty if it may be."""
    magic = _MAGIC.get(Path(name).suffix, b"")
    if start.startswith(magic):
        return ""
    if re.match(rb"\s*<(!doctype|html|head|\?xml)", start, re.IGNORECASE):
        return "it is a web page (HTML)"
    return f"it begins with {start[: len(magic)]!r} instead of {magic!r}"


def download_file(file: RemoteFile, folder: Path) -> Path:
    """Download a file into ``folder`` and return its path, showing progress; it is whole and verified, or not there.

    Raises:
        MissingData: no mirror sent the file; the message says what each of them did.
        UserError: the disk has not enough space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, failures = folder / file.name, []
    with _locked_part(target) as part:
        if part is None:
            return target  # another job was faster
        free, needed = shutil.disk_usage(folder).free, file.size - part.seek(0, os.SEEK_END)
        if free < needed:
            raise UserError(f"cannot download {file}: '{folder}' has {free:,} bytes free, {needed:,} are needed.")
        with _bar(file) as bar:
            for url in file.urls:
                try:
                    _from_mirror(file, url, part, bar)
                except (_Refused, OSError, http.client.HTTPException) as error:
                    failures.append(f"{url}: {_reason(error)}")
                    continue
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, target)
                return target
        if not part.seek(0, os.SEEK_END):
            os.unlink(part.name)
    raise MissingData("Tried " + "; ".join(failures) + ".")


@contextlib.contextmanager
def _locked_part(target: Path) -> Iterator[BinaryIO | None]:
    """Yield the partial file of ``target``, locked and open for reading and appending; None if ``target`` exists by then."""
    path = target.with_name(f"{target.name}.part")
    while True:
        with path.open("a+b") as part:
            with contextlib.suppress(OSError):  # a file system without locks: simultaneous jobs fail by checksum
                fcntl.flock(part, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(part.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if target.exists():
                if current:
                    path.unlink()
                yield None
                return
            if current:  # else it was renamed or removed while we waited for its lock
                yield part
                return


def _bar(file: RemoteFile) -> tqdm:
    """Return a progress bar, updated twice a second on a terminal and twice a minute in a log file."""
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, mininterval=interval, maxinterval=interval)


def _from_mirror(file: RemoteFile, url: str, part: BinaryIO, bar: tqdm) -> None:
    """Complete ``part`` from one mirror; a broken transfer is resumed, up to 4 attempts in all.

    Raises:
        _Refused: the mirror sent something else.
        OSError, HTTPException: it did not answer, or stopped sending.
    """
    for attempt in range(_ATTEMPTS):
        resumed = part.seek(0, os.SEEK_END) > 0
        try:
            if part.tell() < file.size:
                _transfer(file, url, part, bar)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"cannot write '{part.name}': the disk is full.") from error
            passing = not isinstance(error, urllib.error.URLError)  # the transfer broke
            if isinstance(error, urllib.error.HTTPError):
                passing = error.code >= 500
            if not passing or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE * 2**attempt)
            continue
        problem = _problem(part, file)
        if not problem:
            return
        part.truncate(0)  # none of it can be trusted
        if not resumed:
            raise _Refused(problem)
    raise _Refused(problem)


def _transfer(file: RemoteFile, url: str, part: BinaryIO, bar: tqdm) -> None:
    """Request what ``part`` lacks, and append it."""
    have = part.seek(0, os.SEEK_END)
    headers = {"User-Agent": "robustscape", **({"Range": f"bytes={have}-"} if have else {})}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (a constant of a data set's module)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
        partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if have and not (partial and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            part.truncate(0)  # this mirror cannot resume: from the start
            have = 0
        bar.reset(total=file.size)
        bar.update(have)
        chunk = response.read(512)
        if have == 0 and (reason := _impostor(chunk, file.name)):
            raise _Refused(reason)
        while chunk:
            have += len(chunk)
            if have > file.size:
                part.truncate(0)
                raise _Refused(f"it is longer than {file.size:,} bytes")
            part.write(chunk)
            bar.update(len(chunk))
            chunk = response.read1(_CHUNK)
        part.flush()
        if have < file.size:
            raise http.client.IncompleteRead(b"", file.size - have)


def _reason(error: Exception) -> str:
    """Return what went wrong, in words."""
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection broke {error.expected:,} bytes before the end"
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
