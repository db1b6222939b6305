"""torch.compile and a PGD-AT step, as far as PyTorch 2.11 goes.

Covered: the forward pass and loss of the update, and the forward pass of the attack's steps, as one graph each
(``fullgraph=True``), in a step whose weights are the same bits as without; an ascent's start and its step with projection, as one
graph each. The backend is ``eager``: what is tested is that nothing breaks the graph, not what a compiler makes of it.

Not covered: the step, or an input gradient, as one graph. Dynamo refuses ``requires_grad_()``, by which an attack freezes the
weights and asks for the gradient of its inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from gpu.test_training import CLASSES, IMAGE, make_net
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure
from robustscape.training.methods.adversarial import adversarial

X = torch.rand(4, *IMAGE, generator=torch.Generator().manual_seed(0))
Y = torch.arange(4) % CLASSES


@pytest.fixture(autouse=True)
def _fresh_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def one_graph(function: Any) -> Any:
    return torch.compile(function, backend="eager", fullgraph=True)


def pgd_step(model: nn.Module, called: nn.Module) -> Tensor:
    """Make one update of ``model``, which is called as ``called``; return the loss."""
    streams = SampleGenerator.seeded(0, len(X))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    called.train()
    objective = adversarial(called, X, Y, TrainingAttack(pgd, {"steps": 3}, ThreatModel("Linf", 0.1), streams))
    called.train()
    loss: Tensor = optimizer.step(Closure(called).begin(optimizer, objective))  # type: ignore[assignment, arg-type]
    return loss.detach()


def test_a_pgd_step_of_a_compiled_model_breaks_no_graph_and_has_the_same_bits() -> None:
    torch.manual_seed(0)
    plain = make_net(IMAGE)
    other = copy.deepcopy(plain)
    losses = pgd_step(plain, plain), pgd_step(other, one_graph(other))
    assert torch.equal(*losses)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_start_and_the_step_of_an_ascent_are_one_graph_each(norm: Any) -> None:
    threat, keys = ThreatModel(norm, 0.5), SampleGenerator.seeded(0, len(X)).keys
    gradient = torch.randn(X.shape, generator=torch.Generator().manual_seed(1))

    def start(x: Tensor, keys: Tensor) -> Tensor:
        return threat.random_point(x, SampleGenerator(keys))

    def step(x: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        return threat.around(x).step(point, gradient.clone(), 0.1)

    point = start(X, keys)
    assert torch.equal(one_graph(start)(X, keys), point)
    assert torch.equal(one_graph(step)(X, point, gradient), step(X, point, gradient))
