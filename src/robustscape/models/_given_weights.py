"""Initial weights of a net from a file: a net that was trained on other classes keeps all but its head."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import nn

from robustscape.errors import ConfigError, CorruptFile, MissingData

#: Relative names of files are seen from here.
PROJECT = Path(__file__).parents[3]


def start_from_weights(architecture: str, net: nn.Module, weights: str, sha256: str | None) -> None:
    """Put the tensors of a file into ``net``, but those of other shapes, which belong to another number of classes.

    Args:
        architecture: for the messages.
        net: newly initialised; it keeps its own tensors where the file's do not fit.
        weights: safetensors with the names of ``net``, seen from the project's folder.
        sha256: of the file, which stands for its content in what results are made from.

    Raises:
        ConfigError: there is no ``sha256``.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, is no safetensors file, or more than two of its tensors do not fit.
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
    own = net.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and own[name].shape == t.shape}
    unfit = sorted(set(own) - set(fitting))
    if len(unfit) > 2:  # a head's weight and bias
        raise CorruptFile(
            f"'{path}' does not fit the architecture '{architecture}': {len(unfit)} of its tensors are missing or of another "
            f"shape ({', '.join(unfit[:3])})."
        )
    net.load_state_dict({**own, **fitting})
