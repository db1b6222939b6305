"""Weights from anywhere: safetensors, and PyTorch's own files as far as they hold tensors alone. No code of a file is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from robustscape.errors import CorruptFile, MissingData, UserError

#: Keys under which training scripts keep the state dict in a larger file, in the order in which they are looked for.
_NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "ema")

#: What wrappers put before all names -> the wrapper.
_PREFIXES = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}

#: Names of a list in an error.
_SHOWN = 4


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return a state dict on the CPU, and notes on what was done to it.

    Args:
        path: ``*.safetensors``, or a file of ``torch.save`` with a state dict, alone or under a usual key.

    Raises:
        MissingData: there is no such file.
        CorruptFile: it is no file of weights.
        UserError: it would run code when it is loaded, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingData(f"there is no file of weights '{path}'.")
    notes: list[str] = []
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise CorruptFile(f"'{path}' is not a safetensors file, or damaged: {error}.") from None
    else:
        tensors, notes = _state_dict(_load_tensors(path), path)
    for prefix, wrapper in _PREFIXES.items():
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            notes.append(f"stripped '{prefix}', which {wrapper} puts before names, from {len(tensors)} of them")
    return tensors, notes


def load_weights(model: nn.Module, path: str | Path) -> list[str]:
    """Load a file of weights into ``model``; return notes on what was done to them.

    Raises:
        UserError: names or shapes do not fit, or ``read_weights`` refuses the file.
    """
    tensors, notes = read_weights(path)
    wanted = model.state_dict()
    missing, unexpected = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    shapes = [
        f"{name} has shape {tuple(tensors[name].shape)}, the model's {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if wanted[name].shape != tensors[name].shape
    ]
    faults = [
        f"{what} {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for what, names in (("missing are", missing), ("unknown are", unexpected), ("", shapes))
        if names
    ]
    if faults:
        raise UserError(f"'{path}' does not fit the model: {'; '.join(fault.strip() for fault in faults)}.")
    model.load_state_dict(tensors)
    return notes


def _load_tensors(path: Path) -> Any:
    """The content of a file of ``torch.save``, of tensors and plain containers only."""
    with path.open("rb") as file:
        if file.read(2)[:1] not in (b"P", b"\x80"):  # a zip archive, or a pickle as older versions wrote it
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
            content, notes = content[key], [f"took the state dict under the key '{key}'"]
    if not isinstance(content, dict) or not _is_state_dict(content):
        what = type(content).__name__
        if isinstance(content, dict):
            what = f"a dict with the keys {', '.join(map(str, list(content)[:_SHOWN]))}"
        raise UserError(f"'{path}' holds no state dict (names and tensors), but {what}.")
    return dict(content), notes


def _is_state_dict(content: dict[Any, Any]) -> bool:
    return bool(content) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
