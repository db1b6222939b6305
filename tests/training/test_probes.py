"""Probes look at the split, the samples, the eps and the seed that they are told to, in eval mode, and change nothing."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.evaluation.harness.craft import craft
from robustscape.training.observers import ProbeContext

NOISE = AttackSpec(attack="random_noise")

#: Probe -> arguments that it needs here.
PROBES: dict[str, dict[str, Any]] = {
    "accuracy": {},
    "distortion": {"points": 7},
    "gradient_cosine": {"rho": 0.5, "batch": 7},
    "loss": {},
    "margin": {},
    "margin_projection": {"attack": NOISE, "weights": {"natural": 1, "adversarial": 2, "bridged": 3}},
    "nonlinearity": {},
}


class Waves(nn.Module):
    """Answers that come and go along a line: some inputs are right at both ends of a step and wrong between."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sin(3 * x)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(24, 3), Waves()
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


def make_split(samples: int, seed: int) -> Split:
    """Random images; most labels are the model's own answers."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, 4, 4, generator=draw)
    with torch.no_grad():
        answers = make_model()(x).argmax(1)
    shift = (torch.rand(samples, generator=draw) < 0.2).long()
    return Split(x, (answers + shift) % 3, 1.0)


def make_context(
    train: Split | None = None, test: Split | None = None, eps: float = 0.2, seed: int = 3
) -> ProbeContext:
    train = make_split(40, 1) if train is None else train
    test = make_split(30, 2) if test is None else test
    return ProbeContext(make_model(), train, test, eps, seed, 1)


def probed(name: str, context: ProbeContext, **arguments: Any) -> float:
    return float(catalog.load_function("probe", name)(context, **PROBES[name] | arguments))


def takes(name: str, argument: str) -> bool:
    return argument in inspect.signature(catalog.load_function("probe", name)).parameters


def test_every_probe_is_here() -> None:
    assert set(PROBES) == set(catalog.catalog_entries("probe"))


@pytest.mark.parametrize("name", PROBES)
def test_the_split_is_the_one_that_is_named(name: str) -> None:
    one, other = make_split(40, 1), make_split(30, 2)
    context, exchanged = make_context(one, other, eps=0.05), make_context(other, one, eps=0.05)
    arguments = {"samples": None}
    if not takes(name, "split"):
        only_training = make_context(one, one, eps=0.05)
        assert probed(name, context, **arguments) == pytest.approx(probed(name, only_training, **arguments))
        assert probed(name, context, **arguments) != pytest.approx(probed(name, exchanged, **arguments))
        return
    for split, opposite in (("train", "test"), ("test", "train")):
        here = probed(name, context, split=split, **arguments)
        assert here == pytest.approx(probed(name, exchanged, split=opposite, **arguments))
    assert probed(name, context, split="train", **arguments) != probed(name, context, split="test", **arguments)


@pytest.mark.parametrize("name", PROBES)
def test_the_first_samples_are_taken(name: str) -> None:
    train, test = make_split(40, 1), make_split(30, 2)
    few = make_context(train.select(slice(11)), test.select(slice(11)))
    assert probed(name, make_context(train, test), samples=11) == pytest.approx(probed(name, few, samples=None))


def by_hand(name: str, context: ProbeContext, x: Tensor, y: Tensor) -> float:
    """The three probes that have an attack, written out."""
    with torch.no_grad():
        logits = context.model(x)
    if name == "accuracy":
        return 100 * (logits.argmax(1) == y).float().mean().item()
    if name == "loss":
        return F.cross_entropy(logits, y).item()
    p = logits.softmax(1)
    true = p.gather(1, y[:, None]).squeeze(1)
    return (true - p.scatter(1, y[:, None], -1.0).amax(1)).mean().item()


@pytest.mark.parametrize("name", ["accuracy", "loss", "margin"])
@pytest.mark.parametrize(("eps", "seed"), [(0.2, 3), (0.4, 3), (0.2, 4)])
def test_the_attack_has_the_runs_eps_and_seed(name: str, eps: float, seed: int) -> None:
    context = make_context(eps=eps, seed=seed)
    x, y = context.test.first(None)
    attacked = craft(context.model, x, y, NOISE, eps, seed=seed)
    assert probed(name, context, split="test", attack=NOISE) == pytest.approx(
        by_hand(name, context, attacked, y), rel=1e-4
    )
    assert probed(name, context, split="test") == pytest.approx(by_hand(name, context, x, y), rel=1e-4)


@pytest.mark.parametrize("name", ["loss", "margin", "margin_projection"])
def test_another_seed_or_eps_gives_another_number(name: str) -> None:
    found = [
        probed(name, make_context(eps=eps, seed=seed), attack=NOISE) for eps, seed in ((0.2, 3), (0.4, 3), (0.2, 4))
    ]
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["distortion", "nonlinearity"])
def test_probes_with_a_step_of_their_own_take_the_runs_eps(name: str) -> None:
    assert len({probed(name, make_context(eps=eps)) for eps in (0.02, 0.2, 0.5)}) > 1


@pytest.mark.parametrize("name", PROBES)
def test_nothing_is_changed_and_the_number_is_the_same_again(name: str) -> None:
    context = make_context()
    before = {key: tensor.clone() for key, tensor in context.model.state_dict().items()}
    state = torch.random.get_rng_state()
    first = probed(name, context)
    assert probed(name, context) == pytest.approx(first)
    assert all(torch.equal(tensor, before[key]) for key, tensor in context.model.state_dict().items())
    assert not any(module.training for module in context.model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in context.model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
