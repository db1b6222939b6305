"""The training loop: same seed same bits, resume bit for bit, methods that coincide, selection of the best epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.errors import CorruptFile, UserError
from robustscape.training import loop

ATTACKS = {
    "pgd": AttackSpec(attack="pgd", parameters={"steps": 3, "step_size": 0.05}),
    "one_step": AttackSpec(attack="pgd", parameters={"steps": 1, "rel_step_size": 1.0, "random_start": False}),
    "fgsm": AttackSpec(attack="fgsm"),
    "noise": AttackSpec(attack="random_noise"),
}


def make_splits() -> tuple[Split, Split]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (96, 1, 6, 6), generator=draw, dtype=torch.uint8)
    y = (x.float().mean((1, 2, 3)) > 127).long() + 2 * (x[:, 0, 0, 0] > 127).long()
    return Split(x[:64], y[:64], 255.0), Split(x[64:], y[64:], 255.0)


def make_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(288, 4)
    )


def make_recipe(**changes: Any) -> Recipe:
    content = {
        "method": "adversarial",
        "attack": "pgd",
        "optimizer": {"name": "sgd", "parameters": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}},
        "lr_schedule": {"kind": "multistep", "milestones": [0.5], "gamma": 0.1},
        "epochs": 4,
        "batch_size": 20,
        "augmentation": {"crop": 1, "flip": True},
        "probes": {"robust": {"name": "accuracy", "parameters": {"split": "test", "attack": "pgd"}}},
        "select": "robust",
    }
    return Recipe.model_validate(content | changes)


def train(recipe: Recipe, seed: int = 3, eps: float = 0.1, **options: Any) -> loop.Trained:
    return loop.train(make_model(), *make_splits(), recipe, ATTACKS, eps, seed, progress=False, **options)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    recipe = make_recipe()
    first, again, other = train(recipe), train(recipe), train(recipe, seed=4)
    assert same(first.last, again.last)
    assert first.history.equals(again.history)
    assert not same(first.last, other.last)


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "parameters": {"lr": 0.05, "momentum": 0.9}}, {"name": "adam"}])
@pytest.mark.parametrize("stop", [1, 3])
def test_resume_gives_the_same_bits(tmp_path: Path, stop: int, optimizer: dict[str, Any]) -> None:
    """Stopped after any epoch, the rest of the training is what it would have been."""
    recipe, state = make_recipe(optimizer=optimizer), tmp_path / "state.safetensors"

    class Killed(BaseException):
        pass

    original, saved = loop._save, 0

    def kill_after(*arguments: Any) -> None:
        nonlocal saved
        original(*arguments)
        saved += 1
        if saved == stop:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", kill_after)
        with pytest.raises(Killed):
            train(recipe, state=state, fingerprint="f")
    resumed = train(recipe, state=state, fingerprint="f")
    whole = train(recipe)
    assert same(resumed.last, whole.last) and same(resumed.selected, whole.selected)
    assert resumed.history.equals(whole.history) and resumed.epoch == whole.epoch


def test_a_state_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    recipe, state = make_recipe(epochs=1), tmp_path / "state.safetensors"
    train(recipe, state=state, fingerprint="f")
    with pytest.raises(CorruptFile, match="another run"):
        train(recipe, state=state, fingerprint="g")
    state.write_bytes(state.read_bytes()[:-40])
    with pytest.raises(CorruptFile, match=r"state\.safetensors"):
        train(recipe, state=state, fingerprint="f")


def test_adversarial_training_at_eps_0_is_standard_training() -> None:
    assert same(train(make_recipe(), eps=0.0).last, train(make_recipe(method="standard")).last)


def test_one_full_step_of_pgd_trains_like_fgsm() -> None:
    assert same(train(make_recipe(attack="one_step")).last, train(make_recipe(attack="fgsm")).last)


def test_random_noise_training_is_neither_clean_nor_adversarial() -> None:
    noise = train(make_recipe(attack="noise")).last
    assert not same(noise, train(make_recipe(method="standard")).last)
    assert not same(noise, train(make_recipe()).last)


def test_the_loop_is_pytorchs_sgd() -> None:
    """Full-batch standard training against the textbook loop."""
    recipe = make_recipe(
        method="standard", batch_size=None, augmentation={}, epochs=5, probes={}, select="last", lr_schedule={}
    )
    torch.manual_seed(1)
    ours, theirs = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    theirs.load_state_dict(ours.state_dict())
    train_split, test_split = make_splits()
    result = loop.train(ours, train_split, test_split, recipe, ATTACKS, 0.0, 0, progress=False)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(train_split.inputs()), train_split.y).backward()
        optimizer.step()
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(result.last[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_selected_epoch_is_the_last_one_with_the_best_probe() -> None:
    result = train(make_recipe())
    best = result.history["robust"].max()
    assert result.epoch == result.history.loc[result.history["robust"] == best, "epoch"].max()
    last = train(make_recipe(select="last"))
    assert last.epoch == 4 and same(last.selected, last.last)


def test_schedules_reach_the_optimizer_and_eps() -> None:
    result = train(make_recipe(eps_schedule={"kind": "linear", "start": 0, "end": 1}))
    assert result.history["lr"].tolist() == pytest.approx([0.05, 0.05, 0.005, 0.005])
    assert result.history["eps"].tolist() == pytest.approx([0.0, 0.025, 0.05, 0.075])


def test_a_diverging_run_says_so() -> None:
    recipe = make_recipe(
        optimizer={"name": "sgd", "parameters": {"lr": 1e30}},
        method="standard",
        augmentation={},
        probes={},
        select="last",
    )
    with pytest.raises(UserError, match="lower the learning rate"):
        train(recipe)


def test_the_attack_costs_input_gradients_only() -> None:
    """2k + 3 forward-equivalents: no weight gradient is computed while attacking."""
    model = make_model()
    touched = []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: touched.append(1))
    attack = loop._attack_maker(make_recipe(), ATTACKS, 0.1, 0)(0, torch.arange(8), 0.0)
    split, _ = make_splits()
    model.train()
    x_adv = attack(model, split.inputs(slice(8)), split.y[:8])
    assert not touched and model.training and all(p.requires_grad for p in model.parameters())
    assert (x_adv - split.inputs(slice(8))).abs().max() > 0.01
