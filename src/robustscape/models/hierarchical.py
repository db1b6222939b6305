"""The hierarchical network of ma2025 section 5.5 (HAR): a meta-classifier and a leaf classifier for each meta-class.

    P(leaf j of meta-class i | x) = M(x)_i L_i(x)_j                                (equation 5.2)

with M and L_i probabilities, so that the products sum to 1. The network answers with their logarithms, which are logits and
log-probabilities in one: log-softmax leaves them as they are, and their cross-entropy is -log M_i - log L_ij. The products
themselves, given to a cross-entropy, would be normalised twice, and their gradients masked. The parts are trained one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustscape.errors import ConfigError


class HierarchicalNetwork(nn.Module):
    """log(M_i L_ij) of all leaf classes, meta-class after meta-class, which is the order of their labels (``data.hierarchies``).

    Args:
        meta: meta-classifier, logits (B, C) from inputs (B, ...).
        leaves: leaf classifiers, logits (B, k_i), in the order of the meta-classes.
        sizes: k_1, ..., k_C.

    Raises:
        ConfigError: not one size for each leaf classifier, or fewer than two.
    """

    def __init__(self, meta: nn.Module, leaves: Sequence[nn.Module], sizes: Sequence[int]) -> None:
        super().__init__()
        if len(leaves) != len(sizes) or len(sizes) < 2:
            raise ConfigError(
                f"a hierarchical network needs two or more leaf classifiers and the number of classes of each, got {len(leaves)} "
                f"leaf classifiers and {len(sizes)} numbers."
            )
        self.meta = meta
        self.leaves = nn.ModuleList(leaves)
        self.sizes = tuple(sizes)
        self.superclass: Tensor
        self.place: Tensor
        superclass, place = zip(*((i, j) for i, size in enumerate(sizes) for j in range(size)), strict=True)
        self.register_buffer("superclass", torch.tensor(superclass), persistent=False)
        self.register_buffer("place", torch.tensor(place), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities (B, k_1 + ... + k_C) of inputs (B, ...). Cost: a pass of every part."""
        meta = self.meta(x).log_softmax(1)
        return torch.cat([meta[:, [i]] + leaf(x).log_softmax(1) for i, leaf in enumerate(self.leaves)], 1)

    def label_log_probability(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log(M_i L_ij) of the labels (B,) alone, (B,).

        What ``forward`` gives at ``y``, for a pass of the meta-classifier and of one leaf classifier a sample.
        """
        number, place = self.superclass[y], self.place[y]
        total = self.meta(x).log_softmax(1).gather(1, number[:, None]).squeeze(1)
        for i in number.unique().tolist():
            rows = (number == i).nonzero().squeeze(1)
            own = self.leaves[i](x[rows]).log_softmax(1).gather(1, place[rows, None]).squeeze(1)
            total = total.index_add(0, rows, own)
        return total
