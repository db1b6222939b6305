"""A net while it is aligned: its witnesses, and the embeddings of both (ma2025 section 6.3 and appendix 6.A).

The embedding z is the input of the last linear layer that returns the logits. Witnesses are no part of the module: they are in
eval mode and frozen, whatever the loop does, and no checkpoint holds them. The learned maps r of the source's embedding to each
witness's length are trained with it and thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustscape.models.embeddings import embeddings, last_linear

#: How names of the source's tensors begin in an ``AligningNet``.
_OWN = "net."


class AligningNet(nn.Module):
    """A source with its witnesses; as a classifier it is the source.

    Args:
        net: the source; it is held, not copied.
        witnesses: trained nets of the same classes; they are frozen.
        projected: whether there are maps r.

    Raises:
        ConfigError: there are maps, and a net has no linear layer that returns its logits.
    """

    def __init__(self, net: nn.Module, witnesses: Sequence[nn.Module], projected: bool) -> None:
        super().__init__()
        self.net = net
        self._witnesses = tuple(witness.requires_grad_(False).eval() for witness in witnesses)
        lengths = [last_linear(witness).in_features for witness in self._witnesses] if projected else []
        own = last_linear(net).in_features if projected else 0
        self.projections = nn.ModuleList(nn.Linear(own, length) for length in lengths)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the witnesses out of the module's parameters and buffers."""
        if name == "_witnesses":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    @property
    def witnesses(self) -> tuple[nn.Module, ...]:
        """The frozen nets."""
        return self._witnesses

    def witness_logits(self, x: Tensor) -> list[Tensor]:
        """Return the logits (B, C) of each witness, without a graph. Cost: a forward pass of each."""
        with torch.no_grad():
            return [witness(x) for witness in self._witnesses]

    def witness_embeddings(self, x: Tensor) -> list[Tensor]:
        """Return the embeddings (B, D') of each witness, without a graph. Cost: a forward pass of each."""
        with torch.no_grad():
            return [embeddings(witness, x) for witness in self._witnesses]

    def own_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return, of a state dict of this module, the state dict of the source."""
        return {name.removeprefix(_OWN): tensor for name, tensor in tensors.items() if name.startswith(_OWN)}
