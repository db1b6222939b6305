"""Give each job a GPU of its own, by file locks (contract 10). Imports no torch.

Snakemake counts GPUs but does not number them, so jobs that run at the same time would all take the first. Here a job holds a
lock on a slot file of its GPU; the kernel drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

#: Seconds between two attempts, when all slots are taken.
PATIENCE = 0.2


@contextlib.contextmanager
def hold_gpu(gpus: Sequence[str], *, per_gpu: int = 1, folder: Path | None = None) -> Iterator[int]:
    """Hold a slot of one of ``gpus`` during the block, and yield its position in the list. Waits while all are taken.

    Args:
        gpus: names of GPUs that are the same in every process, such as their UUIDs.
        per_gpu: jobs that may share a GPU; every GPU gets its first job before any gets a second.
        folder: where the slot files are; None for the system's temporary folder, which jobs on one machine share.
    """
    folder = folder or Path(tempfile.gettempdir())
    waiting = False
    while True:
        for slot in range(per_gpu):
            for position, gpu in enumerate(gpus):
                descriptor = _lock(folder / f"robustscape-gpu-{re.sub(r'[^0-9A-Za-z-]', '_', gpu)}-{slot}.lock")
                if descriptor is not None:
                    try:
                        yield position
                    finally:
                        os.close(descriptor)  # and with it the lock
                    return
        if not waiting:
            log.warning("all %d GPU slots are taken; waiting for one.", per_gpu * len(gpus))
            waiting = True
        time.sleep(PATIENCE)


def _lock(path: Path) -> int | None:
    """Return the descriptor of the locked file, None if another process has it.

    The file stays: if it were removed, another process could hold a lock on the removed one.
    """
    # Read-only access is enough for a lock, and lets several users share the files; a link is never followed.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT, 0o444)
    except PermissionError:  # another user's file in a sticky folder may be opened, not "created"
        descriptor = os.open(path, flags)
    with contextlib.suppress(PermissionError):  # others may open it, whatever the creator's umask
        os.fchmod(descriptor, 0o444)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
