"""Archives, opened without trusting them."""

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
    """The files of a tar archive in a temporary folder (below $TMPDIR), which is deleted at the end of the block.

    Only plain files and folders that stay inside are written, with their bytes and nothing else: a name that leads out of
    the folder, a link and a device are errors. (Python's own "data" filter does as much, but Debian 12's Python 3.11.2 has
    none.) An altered byte may go unnoticed: verify the archive first.

    Raises:
        CorruptFile: it is not a whole tar archive, or a member is one of those.
        UserError: the temporary folder is full.
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
    """Write one member below ``root``, or refuse it."""
    target = (root / member.name.lstrip("/")).resolve()
    if not target.is_relative_to(root) or not (member.isfile() or member.isdir()):
        raise CorruptFile(
            f"'{archive}' is dangerous and was not unpacked: member '{member.name}' is a link, a device or outside."
        )
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is not None:
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
