"""The device of a job and the set-up of its process: the only module that names a device (contract 10)."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import torch

from robustscape import gpu_locks
from robustscape.errors import ConfigError

Setting = TypeVar("Setting")


@contextlib.contextmanager
def choose_device(spec: str = "auto", *, per_gpu: int = 1) -> Iterator[torch.device]:
    """Yield the device of a job, which is the job's own for the length of the block.

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
    with gpu_locks.hold_gpu(gpus[first : first + wanted], per_gpu=per_gpu) as position:
        device = torch.device("cuda", first + position)
        with _current(device):
            yield device


def visible_gpus() -> list[str]:
    """Return the UUIDs of the GPUs that this process can use; their numbers may differ from process to process."""
    return [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which a GPU is the current one, on which CUDA graphs and streams are made."""
    return torch.cuda.device(device)


def configure_device(threads: int, *, deterministic: bool = True) -> None:
    """Set up the process; call this before it computes anything.

    Whatever computes fp32 in fewer digits, such as the TF32 mode of newer GPUs, on by default in convolutions, is switched off.

    Args:
        threads: CPU threads of an operation, as many as Snakemake gives the job. Their number may change the last bits of sums.
        deterministic: compute the same bits in every run on the same device; an operation that cannot raises. If False, the
            fastest algorithms are found by trial.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    # The same switch as use_deterministic_algorithms, which also imports the compiler; that costs a second per job.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # A debugging aid that comes with deterministic algorithms, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    _take_precisions()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrix product makes a handle


@contextlib.contextmanager
def exact_fp32() -> Iterator[None]:
    """Have fp32 mean fp32 for the length of the block: no TF32, no bf16 on CPUs and no autocast, whatever the caller has set.

    The settings are put back as they were. What enters autocast within the block, such as a search in bf16 or a model's own code,
    still does. As a decorator it holds for each call of the function.
    """
    restore = _take_precisions()
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        restore()


def reduced_precision() -> bool:
    """Return whether some products or convolutions of fp32 numbers are computed in fewer digits, on a GPU or a CPU."""
    if _precision_holders():
        return any(holder.fp32_precision not in ("ieee", "none") for holder in _precision_holders())
    return torch.get_float32_matmul_precision() != "highest" or _cudnn_allows_tf32()


def _precision_holders() -> list[Any]:
    """What has a setting ``fp32_precision``, parents before their children, which inherit it; empty before PyTorch 2.9."""
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    parents = [torch.backends, cudnn, mkldnn, cuda.matmul]
    children = [getattr(group, name, None) for group in (cudnn, mkldnn) for name in ("matmul", "conv", "rnn")]
    return [holder for holder in [*parents, *children] if hasattr(holder, "fp32_precision")]


def _cudnn_allows_tf32() -> bool:
    return torch.backends.cudnn.allow_tf32


def _read_or_none(setting: Callable[[], Setting]) -> Setting | None:
    """The value of a setting of PyTorch's older names; None where it contradicts the newer ones."""
    try:
        return setting()
    except RuntimeError:
        return None


def _take_precisions() -> Callable[[], None]:
    """Have fp32 computed in fp32 everywhere from now on; return what puts the settings back.

    PyTorch has two sets of names for them. The older one (``allow_tf32``, ``set_float32_matmul_precision``) writes the newer one
    too, and raises when it is read after the newer one alone has been set: then it is left as it is. A newer setting that is read
    may be its parent's, so parents are cleared before their children are read.
    """
    matmul, allowed = _read_or_none(torch.get_float32_matmul_precision), _read_or_none(_cudnn_allows_tf32)
    newer: list[tuple[Any, str]] = []
    for holder in _precision_holders():
        newer.append((holder, holder.fp32_precision))
        holder.fp32_precision = "none"

    def set_older(matmul_precision: str, allow: bool) -> None:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul_precision)
        if allowed is not None:
            torch.backends.cudnn.allow_tf32 = allow

    def restore() -> None:
        set_older(matmul or "highest", bool(allowed))
        for holder, precision in reversed(newer):
            holder.fp32_precision = precision

    set_older("highest", False)

    return restore


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors; do nothing with another C library.

    By default a large block goes back to the system when it is freed, and the next one is made of new pages that the kernel
    must clear. For activations of a few megabytes, which every step frees and allocates again, this takes a tenth of the step.
    """
    trim_threshold, mmap_max = -1, -4  # names of <malloc.h>
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)  # everything from the heap,
        mallopt(trim_threshold, 2**31 - 1)  # whose top stays


def arithmetic(
    device: torch.device, precision: Literal["fp32", "tf32", "bf16"]
) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which products and convolutions are computed in ``precision``; what is stored stays fp32.

    ``tf32`` rounds their factors to 10 bits of mantissa, on GPUs that can (compute capability 8.0 and later) and several times as
    fast; elsewhere it is fp32, bit for bit. ``bf16`` is autocast. What must be exact within, such as a filter of
    inputs, is in ``exact_fp32``. Finite differences of gradients are lost in both, as their inputs differ by too little.
    """
    return _tf32() if precision == "tf32" else torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    restore = _take_precisions()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        restore()


def memory_format(name: Literal["contiguous", "channels_last"]) -> torch.memory_format:
    """Return the memory layout of image batches and convolution weights."""
    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[name]
