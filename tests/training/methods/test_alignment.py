"""Model alignment: its loss, what it leaves alone, its maps between embeddings, and the optimizer that warms up and clips."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import ConfigError
from robustscape.models.embeddings import embeddings, last_linear
from robustscape.training.aligning import AligningNet
from robustscape.training.attack import TrainingAttack
from robustscape.training.distances import EMBEDDING_DISTANCES, softened_kl
from robustscape.training.methods import alignment as module
from robustscape.training.methods.alignment import alignment
from robustscape.training.optimizers.clipped_adamw import clipped_adamw
from robustscape.training.optimizers.clipped_sgd import FIRST, clipped_sgd

NAMED = {"nets": "n", "source": "a", "witness": "b"}


def net(width: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers, nn.Linear(4 * width, 5))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(9))


def no_attack() -> TrainingAttack:
    return TrainingAttack(None, {}, ThreatModel("Linf", 0.0), SampleGenerator.seeded(0, 6))


def objective(model: nn.Module, x: Tensor, **settings: object) -> Tensor:
    return alignment(model, x, torch.zeros(len(x)).long(), no_attack(), **NAMED, **settings)()  # type: ignore[arg-type]


def test_the_loss_is_the_mean_over_witnesses_of_the_divergence_from_each(images: Tensor) -> None:
    source, first, second = net(3, 0), net(2, 1), net(4, 2)
    model = AligningNet(source, [first, second], projected=False)
    source.eval()
    expected = (softened_kl(source(images), first(images), 4.0) + softened_kl(source(images), second(images), 4.0)) / 2
    assert torch.allclose(objective(model.eval(), images), expected)


@pytest.mark.parametrize("distance", ["kl", "rkd", "ega", "hint", "nce"])
def test_the_witness_stays_as_it_is_and_the_source_moves(distance: str, images: Tensor) -> None:
    source, witness = net(3, 0), net(2, 1)
    before, theirs = copy.deepcopy(source.state_dict()), copy.deepcopy(witness.state_dict())
    model = AligningNet(source, [witness], distance in EMBEDDING_DISTANCES).train()
    assert not witness.training and not any(p.requires_grad for p in witness.parameters())
    assert {id(p) for p in model.parameters()}.isdisjoint({id(p) for p in witness.parameters()})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = objective(model, images, distance=distance)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in witness.state_dict().items())
    assert not torch.equal(before["0.weight"], source.state_dict()["0.weight"])
    # Only embeddings move: the layer that returns the logits takes no part.
    assert torch.equal(before["5.weight"], source.state_dict()["5.weight"]) == (distance != "kl")
    own = model.own_tensors(model.state_dict())
    assert set(own) == set(before)


def test_maps_are_there_where_lengths_must_agree(images: Tensor) -> None:
    model = AligningNet(net(3, 0), [net(2, 1), net(4, 2)], projected=True)
    assert [(one.in_features, one.out_features) for one in model.projections] == [(12, 8), (12, 16)]
    assert not list(AligningNet(net(3, 0), [net(2, 1)], projected=False).projections)


def test_embeddings_are_the_inputs_of_the_last_linear_layer(images: Tensor) -> None:
    model = net(3, 0).eval()
    z = embeddings(model, images)
    assert torch.allclose(last_linear(model)(z), model(images))
    with pytest.raises(ConfigError, match="has none"):
        last_linear(nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()))


def test_a_net_without_witnesses_is_refused(images: Tensor) -> None:
    with pytest.raises(ConfigError, match="has none"):
        objective(net(3, 0), images)


def test_both_nets_see_the_same_crops(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def changed(x: Tensor) -> Tensor:
        return x.flip(3)

    monkeypatch.setattr(module, "cropped_and_mirrored", changed)
    source, witness = net(3, 0), net(2, 1)
    for one in (source, witness):
        one.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    objective(AligningNet(source, [witness], projected=False), images, crops=True)
    assert len(seen) == 2 and all(torch.equal(x, images.flip(3)) for x in seen)


def quadratic(rate: float, **settings: object) -> tuple[list[float], torch.optim.Optimizer, list[float]]:
    """Rates that were used, by the length of the steps of w on the loss w (gradient 1)."""
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = clipped_sgd([w], lr=rate, **settings)  # type: ignore[arg-type]
    steps, rates = [], []

    def closure() -> Tensor:
        w.grad = torch.ones_like(w)
        return w.sum()

    for _ in range(5):
        before = w.item()
        optimizer.step(closure)  # type: ignore[arg-type]
        steps.append(before - w.item())
        rates.append(optimizer.param_groups[0]["lr"])
    return steps, optimizer, rates


def test_the_warm_up_is_a_line_to_the_scheduled_rate() -> None:
    steps, optimizer, rates = quadratic(0.5, warmup=0.3, updates=10)
    expected = [0.5 * factor for factor in (FIRST, FIRST + (1 - FIRST) / 3, FIRST + (1 - FIRST) * 2 / 3, 1, 1)]
    assert steps == pytest.approx(expected) and rates == [0.5] * 5, "the loop's rate is put back"
    assert optimizer.state_dict()["param_groups"][0]["done"] == 5, "a run that resumes goes on warming up"
    with pytest.raises(ConfigError, match="updates"):
        clipped_sgd([nn.Parameter(torch.zeros(1))], lr=0.1, warmup=0.1)


def test_the_gradient_is_clipped_to_its_norm() -> None:
    steps, _, _ = quadratic(0.5, max_norm=0.1)
    assert steps == pytest.approx([0.05] * 5)
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = clipped_adamw([w], lr=0.1, max_norm=1.0)

    def closure() -> Tensor:
        w.grad = torch.tensor([30.0, 40.0])
        return w.sum()

    optimizer.step(closure)  # type: ignore[arg-type]
    assert w.grad is not None and w.grad.norm().item() == pytest.approx(1.0)
