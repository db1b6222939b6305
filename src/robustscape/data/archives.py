"""Archives, opened without trusting them."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from robustscape.errors import CorruptFile, UserError


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The files of a tar archive in a temporary folder (below $TMPDIR), which is deleted at the end of the block.

    Extraction is Python's "data" filter: members that would leave the folder, links that point out of it, and devices
    are errors; owners and dangerous permission bits are dropped. An altered byte may go unnoticed: verify the archive
    first.

    Raises:
        CorruptFile: it is not a whole tar archive, or a member is one of those.
        UserError: the temporary folder is full.
    """
    with tempfile.TemporaryDirectory(prefix="robustscape-") as folder:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise CorruptFile(f"'{archive}' is dangerous and was not unpacked: {error}.") from None
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorruptFile(f"'{archive}' is not a whole tar archive: {error}.") from None
        except OSError as error:
            raise UserError(f"cannot unpack '{archive}' into '{folder}' (below $TMPDIR): {error.strerror}.") from error
        yield Path(folder)
