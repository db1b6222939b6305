"""A pretended GPU: CPU tensors that say `cuda:0`, refuse what CUDA refuses, and count what costs time on a GPU.

``PretendedTensor`` is a wrapper subclass: C++ sees a CPU tensor, so that autograd and autocast run, and Python sees the device
cuda:0. Every operation on one, those of backward passes and optimizers too, passes ``__torch_dispatch__``, which

- refuses operations on tensors of both devices, but for those that CUDA allows (a number in a 0-dim CPU tensor, an index);
- refuses operations whose CUDA kernel is not deterministic, as ``devices.configure_device`` has PyTorch do (PyTorch 2.11);
- counts kernels (``Counts.kernels``), and occasions at which the CPU would wait for the GPU (``Counts.waits``): a number that is
  read, a shape that depends on values (``nonzero``, an index that is a mask), a copy from or to the CPU.

It cannot tell how long anything takes, whether memory suffices, or what CUDA's kernels round. A kernel here is an operation of
PyTorch that is no view: cuDNN or a fused optimizer may start more or fewer.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import robustscape

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")

SOURCE = str(Path(robustscape.__file__).parent)

#: Operations without a deterministic CUDA kernel, from the page of ``torch.use_deterministic_algorithms``.
NOT_DETERMINISTIC = {
    *("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward", "max_unpool2d"),
    *("max_pool3d_with_indices_backward", "upsample_linear1d_backward", "upsample_bilinear2d_backward"),
    *("upsample_bicubic2d_backward", "grid_sampler_2d_backward", "nll_loss2d_forward", "histc", "put", "put_"),
}

#: Operations that start no kernel: views, and memory that is not written to.
NO_KERNEL = {
    *(
        "view",
        "_unsafe_view",
        "_reshape_alias",
        "expand",
        "slice",
        "select",
        "narrow",
        "t",
        "transpose",
        "permute",
        "movedim",
    ),
    *(
        "unsqueeze",
        "squeeze",
        "detach",
        "alias",
        "as_strided",
        "split",
        "split_with_sizes",
        "chunk",
        "unbind",
        "unfold",
    ),
    *(
        "diagonal",
        "view_as_real",
        "lift_fresh",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
    ),
    "_local_scalar_dense",
}

#: Operations for which the CPU waits: it needs a number, or a shape that depends on values.
WAITS = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_static", "masked_select", "bincount"),
    *("_unique2", "unique_dim", "unique_consecutive", "linalg_eigh", "_linalg_eigh", "_linalg_eigvals", "_linalg_svd"),
    *("linalg_lu_factor_ex", "_linalg_solve_ex"),
}

INDEXED = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"}

#: What C++ makes for itself, on the device of what it works on.
FACTORIES = {
    *(
        "zeros",
        "ones",
        "full",
        "empty",
        "empty_strided",
        "scalar_tensor",
        "arange",
        "eye",
        "rand",
        "randn",
        "new_zeros",
    ),
    "_efficientzerotensor",
}


class MixedDevicesError(RuntimeError):
    """An operation on tensors of both devices, which CUDA refuses."""


@dataclass
class Counts:
    """What was done on the pretended GPU so far."""

    kernels: Counter[str] = field(default_factory=Counter)
    """Operation -> how often a kernel of it was started."""
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(occasion, lines of robustscape that led there) -> how often the CPU would have waited."""
    casts: Counter[tuple[int, ...]] = field(default_factory=Counter)
    """Shape -> casts of a tensor of that shape from fp32 to bf16."""

    def total(self) -> tuple[int, int]:
        """Return the numbers of kernels and of waits."""
        return self.kernels.total(), self.waits.total()

    def clear(self) -> None:
        """Count from zero."""
        self.kernels.clear()
        self.waits.clear()
        self.casts.clear()

    def wait(self, occasion: str) -> None:
        """Note a wait, with the lines of the package that led to it."""
        self.waits[occasion, _lines()] += 1


class _State:
    """The counts of the block ``pretended_gpu``, and how deep C++ is in work on pretended tensors."""

    counts = Counts()
    depth = 0


def _lines() -> str:
    """The innermost three lines of robustscape on the stack."""
    frame, found = sys._getframe(2), []
    while frame is not None and len(found) < 3:
        if frame.f_code.co_filename.startswith(SOURCE):
            found.append(f"{frame.f_code.co_filename[len(SOURCE) + 1 :]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(found) or "a test"


class PretendedTensor(Tensor):
    """A CPU tensor, ``inner``, that says it is on cuda:0."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, requires_grad: bool = False) -> PretendedTensor:
        inner = inner.detach()
        made: PretendedTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
            requires_grad=requires_grad,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, PretendedTensor):
            raise MixedDevicesError("the data of a tensor on cuda:0 cannot be on the CPU.")
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.inner = other.inner

    def numpy(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        _State.counts.wait("tolist")
        return self.inner.tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendedTensor({self.inner})"

    def __deepcopy__(self, memo: dict[int, Any]) -> PretendedTensor:
        if id(self) not in memo:
            made = PretendedTensor(self.inner.clone(memory_format=torch.preserve_format), self.requires_grad)
            if getattr(self, "_is_param", False):
                made._is_param = True
            made.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a pretended tensor cannot be pickled.")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: Any, size: Any, stride: Any) -> PretendedTensor:
        return PretendedTensor(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        _refuse_mixed_devices(func, args, tensors)
        _refuse_not_deterministic(func, args)
        _count(func, args, kwargs)
        known = {id(t.inner): t for t in tensors if isinstance(t, PretendedTensor)}
        args, kwargs = tree_unflatten([_inner(leaf) for leaf in leaves], spec)
        depth, _State.depth = _State.depth, 0
        try:
            result = func(*args, **kwargs)
        finally:
            _State.depth = depth
        return tree_map(
            lambda leaf: known.get(id(leaf), _pretended(leaf)) if isinstance(leaf, Tensor) else leaf, result
        )


def _pretended(tensor: Tensor) -> PretendedTensor:
    return tensor if isinstance(tensor, PretendedTensor) else PretendedTensor(tensor)


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, PretendedTensor) else leaf


def _refuse_mixed_devices(func: Any, args: Sequence[Any], tensors: list[Tensor]) -> None:
    """Raise where CUDA would; note a wait where it copies what is on the CPU.

    Raises:
        MixedDevicesError: with the operation and the devices and shapes of its tensors.
    """
    name, others = func.overloadpacket.__name__, [t for t in tensors if not isinstance(t, PretendedTensor)]
    if not others or name in ("lift_fresh", "detach"):
        return
    allowed = False
    if name in ("copy_", "_to_copy", "_copy_from"):
        allowed = True
        _State.counts.wait("copy between devices")
    elif name in INDEXED:
        index = [t for t in args[1] if t is not None]
        rest = [t for t in others if not any(t is i for i in index)]
        allowed = isinstance(args[0], PretendedTensor) and all(t.dim() == 0 for t in rest)
        _State.counts.wait("index on the CPU")
    elif name in ("fill", "fill_", "masked_fill", "masked_fill_", "where") or torch.Tag.pointwise in func.tags:
        written = args[0] if func._schema.is_mutable and isinstance(args[0], Tensor) else None
        allowed = all(t.dim() == 0 and t is not written for t in others)
    if not allowed:
        places = [("cuda:0" if isinstance(t, PretendedTensor) else "cpu", tuple(t.shape)) for t in tensors]
        raise MixedDevicesError(f"Expected all tensors to be on the same device: {func} got {places}")


def _refuse_not_deterministic(func: Any, args: Sequence[Any]) -> None:
    name = func.overloadpacket.__name__
    weighted = name == "bincount" and len(args) > 1 and args[1] is not None
    if name in NOT_DETERMINISTIC or weighted or (name == "median" and len(args) > 1):
        raise RuntimeError(f"{name} does not have a deterministic implementation on CUDA.")


def _count(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    name, counts = func.overloadpacket.__name__, _State.counts
    if name in WAITS:
        counts.wait(name)
    if name in INDEXED and any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
        counts.wait("index by a mask")
    if name not in NO_KERNEL:
        counts.kernels[name] += 1
    if name == "_to_copy" and args[0].dtype == torch.float32 and kwargs.get("dtype") == torch.bfloat16:
        counts.casts[tuple(args[0].shape)] += 1


class _Up(torch.autograd.Function):
    """From the CPU to the pretended GPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return PretendedTensor(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _inner(gradient)


class _Down(torch.autograd.Function):
    """From the pretended GPU to the CPU."""

    @staticmethod
    def forward(ctx: Any, x: PretendedTensor) -> Tensor:  # type: ignore[override]
        return x.inner.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _pretended(gradient)


def _move(x: Tensor, device: torch.device) -> Tensor:
    """``x`` on ``device``: a copy for which the CPU waits, unless it is there."""
    if isinstance(x, PretendedTensor) == (device.type == "cuda"):
        return x
    _State.counts.wait("copy to the CPU" if isinstance(x, PretendedTensor) else "copy to the GPU")
    if x.requires_grad and torch.is_grad_enabled():
        return (_Down if isinstance(x, PretendedTensor) else _Up).apply(x)
    return x.inner.detach().clone() if isinstance(x, PretendedTensor) else PretendedTensor(x.detach().clone())


def _device(of: Any) -> torch.device:
    return CUDA if isinstance(of, int) else torch.device(of)


class _Functions(TorchFunctionMode):
    """Functions that name a device, which C++ must not see."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.cpu:
            return _move(args[0], CPU)
        if func is Tensor.cuda:
            return _move(args[0], CUDA)
        if func is Tensor.to:
            return _to(*args, **kwargs)
        if func is Tensor.numpy and isinstance(args[0], PretendedTensor):
            return args[0].numpy()
        if kwargs.get("device") is not None:
            return _made_on(func, args, kwargs)
        deeper = any(isinstance(leaf, PretendedTensor) for leaf in tree_flatten(args)[0])
        _State.depth += deeper
        try:
            return func(*args, **kwargs)
        finally:
            _State.depth -= deeper


def _to(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to`` in all its forms: a device, a type, or a tensor that has both."""
    target, rest = None, []
    for argument in (*args, *(kwargs.pop(name) for name in ("device", "other") if name in kwargs)):
        if isinstance(argument, Tensor):
            target, kwargs["dtype"] = argument.device, argument.dtype
        elif isinstance(argument, torch.device | str):
            target = _device(argument)
        elif isinstance(argument, torch.dtype):
            kwargs["dtype"] = argument
        elif argument is not None:
            rest.append(argument)
    kwargs |= dict(zip(("non_blocking", "copy"), rest, strict=False))
    kwargs.pop("non_blocking", None)
    kwargs = {name: value for name, value in kwargs.items() if value not in (None, False)}
    if kwargs:
        x = Tensor.to(x, **kwargs)
    return x if target is None else _move(x, target)


def _made_on(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``func`` with the keyword ``device``: a factory, such as ``torch.zeros``."""
    device = _device(kwargs.pop("device"))
    if not any(isinstance(argument, PretendedTensor) for argument in args):
        kwargs["device"] = CPU
    made = func(*args, **kwargs)
    if device.type != "cuda" or not isinstance(made, Tensor) or isinstance(made, PretendedTensor):
        return _move(made, device) if isinstance(made, Tensor) else made
    if func in (torch.tensor, torch.as_tensor):
        _State.counts.wait("numbers copied to the GPU")
    elif func not in (torch.empty, torch.empty_like, torch.empty_strided):
        _State.counts.kernels[func.__name__] += 1
    return PretendedTensor(made, made.requires_grad)


class _Operations(TorchDispatchMode):
    """What C++ makes for itself while it works on pretended tensors is on the pretended GPU too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        is_own = _State.depth and func.overloadpacket.__name__ in FACTORIES and isinstance(made, Tensor)
        return _pretended(made) if is_own else made


_autocast, _Generator, _group = torch.autocast, torch.Generator, torch._C._group_tensors_by_device_and_dtype
_is_autocast_enabled, _get_autocast_dtype = torch.is_autocast_enabled, torch.get_autocast_dtype


class _GeneratorOfAnyDevice(_Generator):
    """``torch.Generator``, on the CPU whatever device it names."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:  # type: ignore[misc]
        return _Generator.__new__(cls, "cpu")


def _autocast_on_cpu(device_type: str, *args: Any, **kwargs: Any) -> torch.autocast:
    """``torch.autocast`` for the CPU, which C++ believes it works on: it keeps casts of weights as CUDA's does."""
    return _autocast("cpu", *args, **kwargs)


def _grouped_on_gpu(*args: Any) -> dict[tuple[torch.device, torch.dtype], Any]:
    """Lists of tensors by device and type, as ``_foreach`` functions want them; C++ calls the pretended GPU a CPU."""
    groups = _group(*args)
    is_pretended = any(isinstance(tensor, PretendedTensor) for tensors in args[0] for tensor in tensors)
    return {(CUDA if is_pretended else device, dtype): group for (device, dtype), group in groups.items()}


@contextlib.contextmanager
def pretended_gpu() -> Iterator[Counts]:
    """Have ``cuda`` mean the pretended GPU within the block; yield what it counts."""
    _State.counts, _State.depth = Counts(), 0
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in (
            (torch, "autocast", _autocast_on_cpu),
            (torch, "is_autocast_enabled", lambda *_: _is_autocast_enabled("cpu")),
            (torch, "get_autocast_dtype", lambda *_: _get_autocast_dtype("cpu")),
            (torch, "Generator", _GeneratorOfAnyDevice),
            (torch._C, "_group_tensors_by_device_and_dtype", _grouped_on_gpu),
            (torch.cuda, "synchronize", lambda *_: None),
            (torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state()),
            (torch.cuda, "set_rng_state", lambda *_: None),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        stack.enter_context(_Operations())
        stack.enter_context(_Functions())
        yield _State.counts
