"""Where and how a job computes: the only module that names a device (contract 10)."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from robustscape import gpu_locks
from robustscape.errors import ConfigError


@contextlib.contextmanager
def choose(spec: str = "auto", *, per_gpu: int = 1) -> Iterator[torch.device]:
    """The device of a job, the job's own for the length of the block.

    Args:
        spec: "cpu"; "cuda" for a free GPU; "cuda:1" for the second one; "auto" for a free GPU if there are any, else
            the CPU. Only GPUs that CUDA_VISIBLE_DEVICES leaves visible count. Waits while all that fit are taken.
        per_gpu: jobs that may share a GPU.

    Raises:
        ConfigError: there is no such device.
    """
    gpus = visible_gpus() if spec != "cpu" else []
    if spec == "cpu" or (spec == "auto" and not gpus):
        yield torch.device("cpu")
        return
    allowed = {"cpu", "auto", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(len(gpus)))}
    if spec not in allowed:
        raise ConfigError(f"there is no device '{spec}' here. Allowed: {', '.join(sorted(allowed))}.")
    first, wanted = (int(spec[5:]), 1) if spec.startswith("cuda:") else (0, len(gpus))
    with gpu_locks.take(gpus[first : first + wanted], per_gpu=per_gpu) as position:
        device = torch.device("cuda", first + position)
        with _current(device):
            yield device


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs this process can use. Numbers would not do: every process may count its own from 0."""
    return [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Make a GPU the current one: CUDA graphs and streams are made on it."""
    return torch.cuda.device(device)


def configure(threads: int, *, deterministic: bool = True) -> None:
    """Set up the process, before it computes anything.

    fp32 means fp32: the TF32 mode of newer GPUs, on by default in convolutions, is switched off everywhere.

    Args:
        threads: CPU threads of an operation, as many as Snakemake gives the job. They may change the last bits of sums.
        deterministic: the same bits in every run on the same device; operations that cannot raise. Else the fastest
            algorithms, found by trial.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    # The same switch as use_deterministic_algorithms, which also imports the compiler: a second a job, for nothing here.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # Comes with deterministic algorithms, to find bugs; costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrix product makes a handle


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors; with another C library, nothing.

    By default a large block goes back to the system when it is freed, and the next one is new pages that the kernel
    must clear: activations of a few megabytes, freed and asked for again in every step, cost a tenth of it.
    """
    trim_threshold, mmap_max = -1, -4  # names of <malloc.h>
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)  # everything from the heap,
        mallopt(trim_threshold, 2**31 - 1)  # whose top stays


def autocast(device: torch.device, precision: Literal["fp32", "bf16"]) -> torch.autocast:
    """Context in which models compute in ``precision``; parameters, losses and inputs stay fp32 either way."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def memory_format(name: Literal["contiguous", "channels_last"]) -> torch.memory_format:
    """Layout of image batches and convolution weights in memory."""
    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[name]
