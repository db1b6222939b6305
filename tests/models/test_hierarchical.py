"""The hierarchical network: a distribution over leaf classes, the manual product, and the cheap form of one label."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models.hierarchical import HierarchicalNetwork

SIZES = (3, 1, 2)


class Counted(nn.Module):
    """Two layers that count the samples they have seen."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, out))
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.net(x)


@pytest.fixture
def network() -> HierarchicalNetwork:
    torch.manual_seed(0)
    return HierarchicalNetwork(Counted(3), [Counted(size) for size in SIZES], SIZES).double()


def inputs(count: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 8).double(), torch.arange(count) % 6


def test_it_is_a_distribution_and_the_product_of_its_parts(network: HierarchicalNetwork) -> None:
    x, _ = inputs()
    probabilities = network(x).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(x)).double())
    expected = [
        network.meta(x).softmax(1)[:, i] * leaf(x).softmax(1)[:, j]
        for i, leaf in enumerate(network.leaves)
        for j in range(SIZES[i])
    ]
    torch.testing.assert_close(probabilities, torch.stack(expected, 1))
    assert network.superclass.tolist() == [0, 0, 0, 1, 2, 2] and network.place.tolist() == [0, 1, 2, 0, 0, 1]


def test_its_cross_entropy_is_the_sum_of_two(network: HierarchicalNetwork) -> None:
    """Values and input gradients; a second softmax over the products would change both."""
    x, y = inputs()
    x.requires_grad_()
    whole = F.cross_entropy(network(x), y, reduction="none")
    torch.testing.assert_close(whole, F.nll_loss(network(x), y, reduction="none"))
    meta = F.cross_entropy(network.meta(x), network.superclass[y], reduction="none")
    leaf = torch.stack(
        [
            F.cross_entropy(network.leaves[int(network.superclass[label])](x[[n]]), network.place[label][None])
            for n, label in enumerate(y)
        ]
    )
    torch.testing.assert_close(whole, meta + leaf)
    first, second = (torch.autograd.grad(value.sum(), x, retain_graph=True)[0] for value in (whole, meta + leaf))
    torch.testing.assert_close(first, second)
    assert (first.abs().amax(1) > 0).all()


def test_one_label_needs_two_parts(network: HierarchicalNetwork) -> None:
    x, y = inputs()
    x.requires_grad_()
    expected = network(x).gather(1, y[:, None]).squeeze(1)
    for part in network.modules():
        if isinstance(part, Counted):
            part.seen = 0
    found = network.label_log_probability(x, y)
    torch.testing.assert_close(found, expected)
    assert network.meta.seen == len(x) and sum(leaf.seen for leaf in network.leaves) == len(x)
    gradients = [torch.autograd.grad(value.sum(), x, retain_graph=True)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_its_parameters_are_those_of_its_parts(network: HierarchicalNetwork) -> None:
    assert sum(p.numel() for p in network.parameters()) == sum(
        8 * 12 + 12 + 12 * out + out for out in (len(SIZES), *SIZES)
    )
    assert not any("superclass" in name or "place" in name for name in network.state_dict())


def test_it_needs_as_many_leaf_classifiers_as_sizes() -> None:
    with pytest.raises(ConfigError, match="got 1 leaf classifiers and 2 numbers"):
        HierarchicalNetwork(nn.Linear(8, 2), [nn.Linear(8, 2)], (2, 3))
