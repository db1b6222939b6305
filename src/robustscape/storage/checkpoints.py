"""Tensors on disk: safetensors, checked, never pickled (contract 5).

A checkpoint is a safetensors file whose header carries one JSON document: the metadata, the hash of the tensors, and a
hash of both. A file that is cut short, altered in any byte that matters, or something else under the same name is
refused with its reason. Equal tensors and metadata give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.parameter import is_lazy

from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.storage import atomic

# One key only: safetensors writes the keys of its header in random order.
_KEY = "robustscape"

#: First bytes of files that are found under the name of a checkpoint -> what such a file is.
_IMPOSTORS = {
    b"PK\x03\x04": "a pickled PyTorch checkpoint or a zip file, and pickles are never opened",
    b"\x80": "a pickle, and pickles are never opened",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself",
}

#: Those of them that may be weights from elsewhere.
_WEIGHTS = (b"PK\x03\x04", b"\x80")


class _Foreign(ValueError):
    """A file that is no checkpoint of this project, but may be whole and of use to the one who gave it."""


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes, in the order of the names; the same on every device and machine.

    Raises:
        UserError: an entry is no tensor, as a module's extra state may be, or a tensor that has no values or no plain layout.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        _check_plain(name, tensors[name])
        tensor = tensors[name].detach().to("cpu").contiguous().resolve_conj()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_plain(name: str, value: Any) -> None:
    """Refuse what has no bytes to hash.

    Raises:
        UserError: the message names the entry and says what it is.
    """
    if not isinstance(value, Tensor):
        raise UserError(
            f"'{name}' is a {type(value).__name__}, not a tensor; a model whose state dict holds it cannot be used here."
        )
    if is_lazy(value):
        raise UserError(f"'{name}' has no shape yet: it is of a lazy layer; call the model on a batch of inputs once.")
    if value.is_meta:
        raise UserError(f"'{name}' has no values: it is on the meta device; load the model's weights first.")
    if value.layout != torch.strided or value.is_nested:
        kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        raise UserError(f"'{name}' is a tensor of {kind} layout; give a dense one, such as tensor.to_dense().")


def save_checkpoint(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Write tensors and JSON-ready metadata atomically; return the ``content_hash`` of the tensors.

    Tensors may be on any device, of any memory layout, and share storage. Reading the file adds the hash to the metadata
    as "sha256".

    Raises:
        UserError: the disk is full or the folder read-only.
    """
    # Always a copy: safetensors refuses tensors that share memory, such as tied weights.
    copies = {n: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for n, t in tensors.items()}
    sha256 = content_hash(copies)
    document = {"metadata": json.loads(json.dumps(metadata)), "sha256": sha256}
    document["seal"] = _seal(document)
    atomic.write_bytes(path, safetensors.torch.save(copies, {_KEY: _canonical(document)}))
    return sha256


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file on ``device`` and its metadata, with the tensors' hash as "sha256".

    Raises:
        MissingData: there is no such file.
        CorruptFile: it is not the file that was saved; the message gives the reason.
        UserError: it cannot be read, such as a folder.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingData(f"there is no checkpoint '{path}'.") from None
    except OSError as error:
        raise UserError(f"the checkpoint '{path}' cannot be read: {error.strerror}.") from None
    try:
        document, tensors = _parse(content)
    except _Foreign as error:
        raise CorruptFile(
            f"'{path}' is not a whole checkpoint of a run: {error}. If it holds weights of your own, give it as --weights, with "
            "--model, or to robustscape.load_weights; if a run is to have written it, make it again."
        ) from None
    except ValueError as error:
        raise CorruptFile(f"'{path}' is not a whole checkpoint: {error}. Delete it and make it again.") from None
    return {name: tensor.to(device) for name, tensor in tensors.items()}, document["metadata"] | {
        "sha256": document["sha256"]
    }


def _parse(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return document and tensors of a file's bytes.

    Raises:
        ValueError: they are not what was saved; the message gives the reason.
    """
    if not content:
        raise ValueError("it is empty")
    for start, what in _IMPOSTORS.items():
        # A header may be 128 bytes long, so its length may start like a pickle; a brace follows it only in safetensors.
        if content.startswith(start) and content[8:9] != b"{":
            raise (_Foreign if start in _WEIGHTS else ValueError)(f"it is {what}")
    if content[:512].lstrip().startswith(b"<"):
        raise ValueError("it is a web page (HTML or XML), probably from a failed download")
    length = int.from_bytes(content[:8], "little")
    if content[8:9] not in (b"{", b""):
        raise ValueError("it is not in safetensors format")
    if len(content) < 8 + length:
        raise ValueError(f"it is cut short or altered: its header should end at byte {8 + length} of {len(content)}")
    try:
        tensors = safetensors.torch.load(content)
        document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
        seal = document.pop("seal")
    except SafetensorError as error:
        raise ValueError(f"it is cut short or altered: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise _Foreign("its header carries no robustscape document, so nothing can be verified") from None
    if seal != _seal(document):
        raise ValueError("its header was altered: the seal does not fit the metadata")
    if content_hash(tensors) != document["sha256"]:
        raise ValueError("it was altered: the SHA-256 of the tensors is not the one in its header")
    return document, tensors


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _seal(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(document).encode()).hexdigest()


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as named tensors and JSON-ready metadata, ready to be saved. The tensors are not copied.

    Works for every optimizer whose ``state_dict`` is made of tensors, numbers, strings, None, dictionaries, lists and tuples.

    Raises:
        TypeError: the state holds something else; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    state = _flatten(optimizer.state_dict(), "", tensors)
    return tensors, {"optimizer": type(optimizer).__name__, "shapes": _shapes(optimizer), "state": state}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Restore a state from ``flatten_optimizer`` in an optimizer over the same parameters, bit for bit.

    ``load_state_dict`` decides on which device each tensor lives, but it also casts every tensor to its parameter's
    type (an int64 counter becomes float32), so the values and types are put back as they were saved.

    Raises:
        UserError: the state belongs to another optimizer, or to other parameters.
    """
    if metadata["optimizer"] != type(optimizer).__name__:
        raise UserError(f"the saved state is of {metadata['optimizer']}, the optimizer is {type(optimizer).__name__}.")
    if metadata["shapes"] != _shapes(optimizer):
        raise UserError("the saved optimizer state belongs to a model with other parameters.")
    saved = _unflatten(metadata["state"], tensors)
    optimizer.load_state_dict(saved)
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    for index, values in saved.get("state", {}).items():
        if index in parameters:
            placed = optimizer.state[parameters[index]]
            for key, value in values.items():
                placed[key] = _place(value, placed[key], parameters[index])


def _shapes(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [list(parameter.shape) for group in optimizer.param_groups for parameter in group["params"]]


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return ``value`` as JSON, its tensors moved to ``tensors``. What JSON lacks becomes a dictionary with one "$" key."""
    if isinstance(value, Tensor):
        while name in tensors:  # the keys "a.b" and "a" -> "b" spell the same name
            name += "'"
        tensors[name] = value
        return {"$tensor": name}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        return {"$float": str(value)}
    if isinstance(value, dict):  # as pairs: keys are often integers
        return {
            "$dict": [
                [_key(k, name), _flatten(v, f"{name}.{k}" if name else str(k), tensors)] for k, v in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        items = [_flatten(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    raise TypeError(f"the optimizer keeps a {type(value).__name__} under '{name}', which a checkpoint cannot hold.")


def _key(key: Any, name: str) -> int | str:
    if not isinstance(key, int | str):
        raise TypeError(f"the optimizer keeps a {type(key).__name__} as a key under '{name}'; use integers or strings.")
    return key


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that ``_flatten`` made JSON of."""
    if isinstance(value, list):
        return [_unflatten(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "$tensor":
        return tensors[content]
    if kind == "$float":
        return float(content)
    if kind == "$tuple":
        return tuple(_unflatten(v, tensors) for v in content)
    return {key: _unflatten(v, tensors) for key, v in content}


def _place(saved: Any, placed: Any, parameter: Tensor) -> Any:
    """Return ``saved`` on the device of ``placed`` and, where it has the parameter's shape, in its memory layout."""
    if isinstance(saved, Tensor):
        device = placed.device if isinstance(placed, Tensor) else parameter.device
        if saved.shape == parameter.shape:
            return torch.empty_like(parameter, dtype=saved.dtype, device=device, requires_grad=False).copy_(saved)
        return saved.to(device, copy=True)
    if isinstance(saved, dict):
        return {key: _place(value, placed[key], parameter) for key, value in saved.items()}
    if isinstance(saved, list | tuple):
        return type(saved)(_place(v, p, parameter) for v, p in zip(saved, placed, strict=True))
    return saved
