"""Weights that an architecture reads from a file, named in the configuration with its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from robustscape.errors import ConfigError, CorruptFile, MissingData

#: Relative names of files are seen from here.
PROJECT = Path(__file__).parents[3]


def read_frozen_weights(
    module: nn.Module,
    weights: str,
    sha256: str | None,
    architecture: str,
    *,
    prefix: str = "",
    trained: str | None = None,
) -> None:
    """Put the weights of a file into ``module``, and exclude from training what they are for.

    Args:
        module: its state dict names the weights.
        weights: safetensors file, seen from the project's folder.
        sha256: SHA-256 of that file, which stands for its content in what results are made from.
        architecture: name for errors.
        prefix: what the names in the file may begin with; if any does, all other tensors of the file are left out.
        trained: what the names of those weights of ``module`` begin with that are trained; the file's are not read.

    Raises:
        ConfigError: ``sha256`` is None.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, or other weights than ``module``.
    """
    tensors = _read_tensors(weights, sha256, architecture)
    if any(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    def is_trained(name: str) -> bool:
        return trained is not None and name.startswith(trained)

    own = {name: tensor for name, tensor in module.state_dict().items() if not is_trained(name)}
    unfit = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    unknown = [name for name in tensors if name not in own and not is_trained(name)]
    if unfit or unknown:
        raise CorruptFile(
            f"'{PROJECT / weights}' does not fit '{architecture}': {len(unfit)} of its weights are missing or of another shape "
            f"({', '.join(unfit[:3])}), {len(unknown)} in the file are unknown ({', '.join(unknown[:3])})."
        )
    module.load_state_dict({name: tensors[name] for name in own}, strict=False)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(is_trained(name))


def start_from_weights(net: nn.Module, weights: str, sha256: str | None, architecture: str) -> None:
    """Put the tensors of a file into ``net``, but those of other shapes, which belong to another number of classes.

    Args:
        net: newly initialised; it keeps its own tensors where the file's do not fit.
        weights: safetensors with the names of ``net``, seen from the project's folder.
        sha256: of the file, which stands for its content in what results are made from.
        architecture: name for errors.

    Raises:
        ConfigError: there is no ``sha256``.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, is no safetensors file, or more than two of its tensors do not fit.
    """
    tensors, own = _read_tensors(weights, sha256, architecture), net.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and own[name].shape == t.shape}
    unfit = sorted(set(own) - set(fitting))
    if len(unfit) > 2:  # a head's weight and bias
        raise CorruptFile(
            f"'{PROJECT / weights}' does not fit '{architecture}': {len(unfit)} of its weights are missing or of another shape "
            f"({', '.join(unfit[:3])})."
        )
    net.load_state_dict({**own, **fitting})


def _read_tensors(weights: str, sha256: str | None, architecture: str) -> dict[str, Tensor]:
    """Return the tensors of the file that the configuration means.

    Raises:
        ConfigError: ``sha256`` is None.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, or is no safetensors file.
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
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CorruptFile(f"'{path}' is not a safetensors file: {error}.") from None
    return tensors
