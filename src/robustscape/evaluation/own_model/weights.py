"""Weights from anywhere: safetensors, and PyTorch's own files as far as they hold tensors alone. No code of a file is run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustscape.errors import CorruptFile, MissingData, UserError, a_type, near_path_hint
from robustscape.evaluation.own_model.notes import Doubt

#: Keys under which training scripts keep the state dict in a larger file, in the order in which they are looked for.
_NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "ema")

#: What wrappers put before all names -> the wrapper.
_PREFIXES = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}

#: A buffer of batch normalisation that PyTorch before 0.4.1 did not have. In eval mode nothing reads it.
_COUNTER = "num_batches_tracked"

#: Names of a list in an error.
_SHOWN = 4


class WeightsWarning(UserWarning):
    """Weights were loaded, and may not be those that were meant."""


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return a state dict on the CPU with the names that the file has, and notes on where it was found.

    Args:
        path: a file in safetensors format, whatever its name, or of ``torch.save`` with a state dict, alone or under a usual key.

    Raises:
        MissingData: there is no such file.
        CorruptFile: it is no file of weights.
        UserError: it would run code when it is loaded, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingData(f"there is no file of weights '{path}'.{near_path_hint(path)}")
    notes: list[str] = []
    start = _first_bytes(path)
    named, pickled = path.suffix == ".safetensors", start.startswith(b"PK\x03\x04")
    if _is_safetensors(start, path) or (named and not pickled):
        notes += [] if named else ["its content is in safetensors format, and was read as such"]
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise CorruptFile(f"'{path}' is not a safetensors file, or damaged: {error}.") from None
    else:
        tensors, notes = _state_dict(_load_tensors(path, start), path)
    return tensors, notes


def load_weights(model: nn.Module, path: str | Path) -> list[str]:
    """Load a file of weights into ``model``; return notes on what was done to them.

    Prefixes of wrappers are stripped where the model has none. The counter ``num_batches_tracked`` of batch normalisation may be
    absent. A file with further state dicts, such as averaged weights, is a ``WeightsWarning`` besides the note.

    Raises:
        UserError: names, shapes or kinds of numbers do not fit, the model's own state is not of tensors with values, or
            ``read_weights`` refuses the file.
    """
    tensors, notes = read_weights(path)
    wanted = model.state_dict()
    _check_own(wanted)
    tensors, stripped = _without_prefixes(tensors, wanted)
    notes = [*notes, *stripped]
    counters = [name for name in wanted if name not in tensors and _is_counter(name, tensors)]
    if counters:
        tensors |= {name: wanted[name] for name in counters}
        notes.append(
            f"{_COUNTER} is not in the file ({len(counters)} times); it is a counter that eval mode does not read"
        )
    missing, unexpected = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    shapes = [
        f"{name} has shape {tuple(tensors[name].shape)}, the model's {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if not is_lazy(wanted[name]) and wanted[name].shape != tensors[name].shape  # a lazy layer takes any shape
    ]
    kinds = [
        f"{name} holds {_dtype(tensors[name])}{', without values' if tensors[name].is_meta else ''}, the model's "
        f"{_dtype(wanted[name])}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].is_meta
        or not (name.rpartition(".")[2] == _COUNTER or _keeps(tensors[name], wanted[name].dtype))
    ]
    faults = [
        f"{what} {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for what, names in (("missing are", missing), ("unknown are", unexpected), ("", shapes), ("", kinds))
        if names
    ]
    if faults:
        raise UserError(f"'{path}' does not fit the model: {'; '.join(fault.strip() for fault in faults)}.")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # such as a sparse tensor for a dense parameter
        raise UserError(f"'{path}' does not fit the model: {' '.join(str(error).split())}") from None
    for note in notes:
        if isinstance(note, Doubt):
            warnings.warn(f"'{path}': {note}", WeightsWarning, stacklevel=2)
    return notes


def _without_prefixes(tensors: dict[str, Tensor], wanted: Iterable[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Return a state dict without what wrappers put before all names, and notes; the names of a model that is wrapped stay.

    Prefixes go one by one, such as both of ``_orig_mod.module.``, as long as no name is one of ``wanted``, the model's.
    """
    notes: list[str] = []
    while tensors and tensors.keys().isdisjoint(wanted):
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        notes.append(f"stripped '{prefix}', which {_PREFIXES[prefix]} puts before names, from {len(tensors)} of them")
    return tensors, notes


def _check_own(wanted: dict[str, Any]) -> None:
    """Refuse a model into which no file of weights can be loaded.

    Raises:
        UserError: its state dict holds something else than tensors, or tensors without values.
    """
    for name, value in wanted.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"the model keeps {a_type(value)} under '{name}' of its state dict, which a file of weights cannot "
                "hold; load its weights in your own function."
            )
        if value.is_meta and not is_lazy(value):
            raise UserError(
                f"the model's '{name}' is on the meta device, where it has no values to be replaced; call "
                "model.to_empty(device='cpu') in your own function first."
            )


def _is_counter(name: str, tensors: dict[str, Tensor]) -> bool:
    """Whether a name is that of the counter of a batch normalisation whose mean is there."""
    layer, _, last = name.rpartition(".")
    return last == _COUNTER and (f"{layer}.running_mean" if layer else "running_mean") in tensors


def _keeps(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether loading ``tensor`` as ``dtype`` keeps its values, up to the rounding between floating types.

    Integers for floating weights are refused: they are codes of a quantised model, or labels, not weights.
    """
    if tensor.is_quantized or (tensor.is_complex() and not dtype.is_complex):
        return False
    if dtype.is_complex or dtype.is_floating_point:
        return tensor.is_floating_point() or (tensor.is_complex() and dtype.is_complex)
    return tensor.layout != torch.strided or torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(9)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from None


def _is_safetensors(start: bytes, path: Path) -> bool:
    """Whether a file begins with the length of a header that fits into it, and the brace with which the header begins."""
    return start[8:9] == b"{" and 8 + int.from_bytes(start[:8], "little") <= path.stat().st_size


def _load_tensors(path: Path, start: bytes) -> Any:
    """The content of a file of ``torch.save``, of tensors and plain containers only."""
    if start[:1] not in (b"P", b"\x80"):  # a zip archive, or a pickle as older versions wrote it
        raise CorruptFile(f"'{path}' is not a file of weights: neither safetensors nor a file of torch.save.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file provokes
        reason = " ".join(str(error).split())
        if "nsupported" in reason or "WeightsUnpickler" in reason or "weights_only" in reason.lower():
            raise UserError(
                f"'{path}' is refused: it holds Python objects, not tensors alone, and code may run when they are loaded. Save "
                "model.state_dict(), best as safetensors."
            ) from None
        raise CorruptFile(f"'{path}' is not a file of weights, or damaged: {reason[:200]}") from None


def _state_dict(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    notes: list[str] = []
    if isinstance(content, dict) and not _is_state_dict(content):
        key = next((k for k in _NESTED if isinstance(content.get(k), dict) and _is_state_dict(content[k])), None)
        if key is not None:
            others = [f"'{k}'" for k, v in content.items() if k != key and isinstance(v, dict) and _is_state_dict(v)]
            note = f"took the state dict under the key '{key}'"
            if others:
                note = Doubt(
                    f"{note}; there are others under {', '.join(others)}: if one of them is meant, save it in a file of its own"
                )
            content, notes = content[key], [note]
    if not isinstance(content, dict) or not _is_state_dict(content):
        what = type(content).__name__
        if isinstance(content, dict):
            what = _others(content) or f"a dict with the keys {', '.join(map(str, list(content)[:_SHOWN]))}"
        raise UserError(f"'{path}' holds no state dict (names and tensors), but {what}.")
    return dict(content), notes


def _others(content: dict[Any, Any]) -> str | None:
    """What a state dict holds besides tensors, in words; None if it holds no tensors at all."""
    other = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if other is None or not any(isinstance(value, Tensor) for value in content.values()):
        return None
    return f"tensors and {a_type(content[other])} under '{other}'"


def _is_state_dict(content: dict[Any, Any]) -> bool:
    return bool(content) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
