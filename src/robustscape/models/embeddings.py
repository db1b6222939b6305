"""Embeddings of a net: the inputs of its last linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.errors import ConfigError


def last_linear(net: nn.Module) -> nn.Linear:
    """Return the linear layer of ``net`` that comes last in the order of its modules.

    Raises:
        ConfigError: there is none.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ConfigError(
            f"alignment of embeddings takes the input of a net's last linear layer, and {type(net).__name__} has none."
        )
    return layers[-1]


def embeddings(net: nn.Module, x: Tensor) -> Tensor:
    """Return the input (B, D) of the last linear layer in a forward pass of ``net`` on ``x`` (B, ...)."""
    found: list[Tensor] = []
    handle = last_linear(net).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        net(x)
    finally:
        handle.remove()
    return found[-1].flatten(1)
