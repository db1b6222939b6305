"""Weights that an architecture reads from a file, named in the configuration with its SHA-256, and does not train."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import nn

from robustscape.errors import ConfigError, CorruptFile, MissingData

#: Relative names of files are seen from here.
PROJECT = Path(__file__).parents[3]


def read_frozen_weights(module: nn.Module, weights: str, sha256: str | None, architecture: str, prefix: str) -> None:
    """Put the weights of a file into ``module`` and exclude them from training.

    Args:
        module: its state dict names the weights.
        weights: safetensors file, seen from the project's folder.
        sha256: SHA-256 of that file, which stands for its content in what results are made from.
        architecture: name for errors.
        prefix: what the names in the file may begin with; if any does, all other tensors of the file are left out.

    Raises:
        ConfigError: ``sha256`` is None.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, or other weights than ``module``.
    """
    path = PROJECT / weights
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingData(
            f"architecture '{architecture}': the file of weights '{path}' cannot be read ({error.strerror}); put one there "
            "(safetensors), or name another under the key weights in config/architectures.yaml."
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 is None:
        raise ConfigError(
            f"architecture '{architecture}': weights '{path}' are given without sha256, so that another file under this name "
            f"would go unnoticed; write sha256: {found} in config/architectures.yaml."
        )
    if found != sha256:
        raise CorruptFile(f"'{path}' is not the file of the configuration: its SHA-256 is {found}, not {sha256}.")
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CorruptFile(f"'{path}' is not a safetensors file: {error}.") from None
    if any(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    own = module.state_dict()
    unfit = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    unknown = [name for name in tensors if name not in own]
    if unfit or unknown:
        raise CorruptFile(
            f"'{path}' does not fit '{architecture}': {len(unfit)} of its weights are missing or of another shape "
            f"({', '.join(unfit[:3])}), {len(unknown)} in the file are unknown ({', '.join(unknown[:3])})."
        )
    module.load_state_dict(tensors)
    module.requires_grad_(False)
