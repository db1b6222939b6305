"""The random streams of training: the seed reaches order, augmentation, attack and layers; each is new in every epoch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.training import loop

SAMPLES, EPOCHS, BATCH = 48, 3, 20
NOISE = AttackSpec(attack="random_noise")
PGD = AttackSpec(attack="pgd", parameters={"steps": 1, "rel_step_size": 1e-6})


def split() -> Split:
    """Images whose pixel in the middle is the number of their sample, on noise."""
    x = torch.randint(100, 256, (SAMPLES, 1, 7, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x[:, 0, 3, 3] = torch.arange(SAMPLES, dtype=torch.uint8)
    return Split(x, torch.arange(SAMPLES) % 3, 255.0)


def recipe(**changes: Any) -> Recipe:
    content = {
        "method": "adversarial",
        "attack": "noise",
        "optimizer": {"name": "sgd", "parameters": {"lr": 1e-6}},
        "epochs": EPOCHS,
        "batch_size": BATCH,
    }
    return Recipe.model_validate(content | changes)


class Watched(nn.Module):
    """A net with dropout that notes its inputs, its mode and what dropout leaves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dropout, self.layer = nn.Dropout(0.5), nn.Linear(49, 3)
        self.inputs: list[Tensor] = []
        self.modes: list[bool] = []
        self.masks: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        dropped = self.dropout(torch.ones_like(x.flatten(1)))
        if self.training:
            self.inputs.append(x.detach().clone())
            self.masks.append(dropped.detach() > 0)
        return self.layer(x.flatten(1) * dropped)


def trained(seed: int, **changes: Any) -> Watched:
    model = Watched()
    attacks = {"noise": NOISE, "pgd": PGD}
    loop.train(model, split(), split(), recipe(**changes), attacks, 0.05, seed, progress=False)
    return model


def per_epoch(found: list[Tensor]) -> list[Tensor]:
    """The batches of each epoch one after the other, (SAMPLES, ...)."""
    steps = len(found) // EPOCHS
    return [torch.cat(found[epoch * steps : (epoch + 1) * steps]) for epoch in range(EPOCHS)]


def of_samples(images: Tensor, order: Tensor) -> Tensor:
    """The images in the order of their samples' numbers."""
    return images[order.argsort()]


def order_of(images: Tensor) -> Tensor:
    return (images[:, 0, 3, 3] * 255).round().long()


def orders(seed: int) -> list[Tensor]:
    return [order_of(images) for images in per_epoch(trained(seed, method="standard", attack=None).inputs)]


def augmented(seed: int) -> list[Tensor]:
    model = trained(seed, method="standard", attack=None, augmentation={"crop": 2, "flip": True})
    return [of_samples(x, o) for x, o in zip(per_epoch(model.inputs), orders(seed), strict=True)]


def noise(seed: int) -> list[Tensor]:
    """What the attack added to each sample, where no bound cut it."""
    model, clean = trained(seed), split().inputs()
    return [of_samples(x, o) - clean for x, o in zip(per_epoch(model.inputs), orders(seed), strict=True)]


def masks(seed: int) -> list[Tensor]:
    return [mask.float() for mask in per_epoch(trained(seed, method="standard", attack=None).masks)]


STREAMS: dict[str, Callable[[int], list[Tensor]]] = {
    "order": orders,
    "augmentation": augmented,
    "attack": noise,
    "layers": masks,
}


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_depends_on_the_seed_and_on_the_epoch_and_on_nothing_else(stream: str) -> None:
    make = STREAMS[stream]
    first, again, other = make(3), make(3), make(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for a, b in itertools.combinations([*first, *other], 2):
        same = (a == b).flatten(1).all(1) if a.dim() > 1 else a == b
        assert same.float().mean() < 0.25, "most samples differ between epochs, and between seeds"


def test_an_epoch_sees_every_sample_once() -> None:
    assert all(order.sort().values.tolist() == list(range(SAMPLES)) for order in orders(3))


def test_attack_and_augmentation_draw_from_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[Tensor]] = {"augmentation": [], "attack": []}
    augment, make = loop.augment, loop.SampleGenerator.seeded

    def watched_augment(x: Tensor, draws: Any, **settings: Any) -> Tensor:
        drawn["augmentation"].append(draws.keys)
        return augment(x, draws, **settings)

    def watched_seeded(*arguments: Any) -> Any:
        drawn["attack"].append(make(*arguments).keys)
        return make(*arguments)

    monkeypatch.setattr(loop, "augment", watched_augment)
    monkeypatch.setattr(loop.SampleGenerator, "seeded", watched_seeded)
    trained(3, augmentation={"crop": 1})
    keys = torch.cat(drawn["attack"])
    assert len(drawn["augmentation"]) == EPOCHS * 3 and len(keys) == 2 * EPOCHS * SAMPLES
    assert len(keys.unique()) == len(keys), "one key for each sample, epoch and purpose"


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_net_is_attacked_in_the_mode_that_the_attack_names(mode: Any) -> None:
    attack = AttackSpec(attack="pgd", parameters={"steps": 4}, model_mode=mode)
    model = Watched()
    loop.train(model, split(), split(), recipe(epochs=1, batch_size=None), {"noise": attack}, 0.05, 0, progress=False)
    assert model.modes == [mode == "train"] * 4 + [True]


def test_the_attack_has_the_eps_that_the_schedule_gives_its_step() -> None:
    """Linear from 0 to eps over 9 steps: the step number s has s/9 of it."""
    schedule = {"kind": "linear", "start": 0, "end": 1}
    model = trained(3, eps_schedule=schedule, attack="noise")
    steps = [order.split(BATCH) for order in orders(3)]
    for number, (x, index) in enumerate(zip(model.inputs, itertools.chain(*steps), strict=True)):
        size = (x - split().inputs(index)).abs().max().item()
        assert size == pytest.approx(0.05 * number / 9, rel=0.02, abs=1e-6)
