"""Timing by interleaved repetition: what is compared alternates, so that a slow minute of a shared machine hits all alike."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from robustscape.storage.provenance import environment


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], *, rounds: int, device: torch.device, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, warm-up excluded."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(warm_up + rounds):
        for name, candidate in candidates.items():
            _wait(device)
            began = time.perf_counter()
            candidate()
            _wait(device)
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, reference: str) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[reference], strict=True))


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, computed in a fresh process, which ends when this one does, even by SIGKILL."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
        return pool.submit(function, *arguments).result()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def clocked(candidate: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of ``candidate``, seconds of the wall clock, and seconds of this process's CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = candidate()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def write(path: Path, results: list[dict[str, Any]]) -> None:
    """Figures with the command, device and versions that made them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Folders of this machine mean nothing elsewhere.
    arguments = [word if not Path(word).is_absolute() else Path(word).name for word in sys.argv[1:]]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    path.write_text(
        json.dumps({"command": command, "environment": environment(), "results": results}, indent=1) + "\n",
        encoding="utf-8",
    )
