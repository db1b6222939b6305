"""Unpacking of tar archives that are not trusted."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from robustscape.errors import CorruptFile, UserError


@contextlib.contextmanager
def unpacked_archive(archive: Path) -> Iterator[Path]:
    """Unpack a tar archive into a temporary folder (below $TMPDIR) and yield the folder; it is deleted after the block.

    Only plain files and folders inside that folder are written, without permissions or owners: a name that leads out of
    the folder, a link and a device are errors. (Python's own "data" filter does the same, but Python 3.11.2 of Debian 12
    does not have it.) An altered byte may go unnoticed, so verify the archive first.

    Raises:
        CorruptFile: the file is not a whole tar archive, or has a member of those kinds.
        UserError: the temporary folder cannot be written, for example because the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="robustscape-") as folder:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    _extract(tar, member, Path(folder).resolve(), archive)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorruptFile(f"'{archive}' is not a whole tar archive: {error}.") from None
        except OSError as error:
            raise UserError(f"cannot unpack '{archive}' into '{folder}' (below $TMPDIR): {error.strerror}.") from error
        yield Path(folder)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, archive: Path) -> None:
    """Write one member below ``root``; raise CorruptFile if it is neither a file nor a folder inside ``root``."""
    target = (root / member.name.lstrip("/")).resolve()
    if not target.is_relative_to(root) or not (member.isfile() or member.isdir()):
        raise CorruptFile(
            f"'{archive}' is dangerous and was not unpacked: its member '{member.name}' is a link or a device, or lies "
            "outside the archive's folder."
        )
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is not None:
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
