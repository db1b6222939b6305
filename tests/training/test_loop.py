"""The training loop: same seed same bits, resume bit for bit, methods that coincide, selection of the best epoch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.batches import augment
from robustscape.errors import ConfigError, CorruptFile, UserError
from robustscape.models import build_classifier
from robustscape.storage import checkpoints
from robustscape.training import loop
from robustscape.training import state as state_module
from robustscape.training.closure import Closure
from robustscape.training.objective import CrossEntropy
from robustscape.training.observers import collapse_observer, is_collapse_epoch

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


def test_a_log_holds_no_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    loop.train(make_model(), *make_splits(), make_recipe(epochs=1), ATTACKS, 0.1, 3, progress=True)
    assert capfd.readouterr() == ("", "")


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

    original, saved = state_module.save_state, 0

    def kill_after(*arguments: Any) -> None:
        nonlocal saved
        original(*arguments)
        saved += 1
        if saved == stop:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "save_state", kill_after)
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


def test_updates_and_their_attacks_are_in_tf32_probes_are_not_and_a_cpu_computes_fp32() -> None:
    seen: dict[int, set[bool]] = {
        32: set(),
        20: set(),
    }  # by the size of a batch: probes have all 32 test images at once

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) in seen:
            seen[len(inputs[0])].add(torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32)

    model, splits = make_model(), make_splits()
    model.register_forward_pre_hook(watch)  # type: ignore[arg-type]
    with devices.exact_fp32():
        rounded = loop.train(model, *splits, make_recipe(precision="tf32"), ATTACKS, 0.1, 3, progress=False)
        exact = train(make_recipe())
    assert seen == {32: {False}, 20: {True}}
    assert same(rounded.last, exact.last) and rounded.history.equals(exact.history)


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


def test_the_selected_epoch_is_the_one_with_the_best_probe() -> None:
    result = train(make_recipe())
    robust = result.history["robust"]
    assert robust.nunique() > 1 and result.epoch == robust.idxmax() + 1
    last = train(make_recipe(select="last"))
    assert last.epoch == 4 and same(last.selected, last.last)


def test_schedules_reach_the_optimizer_and_eps() -> None:
    result = train(make_recipe(eps_schedule={"kind": "linear", "start": 0, "end": 1}))
    assert result.history["lr"].tolist() == pytest.approx([0.05, 0.05, 0.005, 0.005])
    assert result.history["eps"].tolist() == pytest.approx([0.0, 0.025, 0.05, 0.075])


def test_the_loop_warms_up_as_torchs_schedulers() -> None:
    """Full batches, so a step an epoch: 2 of 5 rise from a third of the rate, the others follow the cosine."""
    schedule = {"kind": "cosine", "warmup": 0.4}
    recipe = make_recipe(
        method="standard", batch_size=None, augmentation={}, epochs=5, probes={}, select="last", lr_schedule=schedule
    )
    torch.manual_seed(1)
    ours, theirs = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    theirs.load_state_dict(ours.state_dict())
    train_split, test_split = make_splits()
    result = loop.train(ours, train_split, test_split, recipe, ATTACKS, 0.0, 0, progress=False)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    rising = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 3, total_iters=2)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, falling], milestones=[2])
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(train_split.inputs()), train_split.y).backward()
        optimizer.step()
        scheduler.step()
    assert result.history["lr"].tolist() == pytest.approx(rates)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(result.last[name], tensor, rtol=1e-5, atol=1e-6)


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


def test_a_diverging_run_can_be_kept_as_it_was_before() -> None:
    """Finite for two epochs, then a learning rate no net survives: the weights of the second epoch stand for the run."""
    calm = {"method": "standard", "augmentation": {}, "probes": {}, "select": "last", "lr_schedule": {}}
    wild = {"at": 0.5, "optimizer": {"name": "sgd", "parameters": {"lr": 1e30}}}
    kept = train(make_recipe(**calm, phases=[wild], if_diverged="record", keep=[0.25, 0.75]))
    short = train(make_recipe(**calm), until=2)
    assert kept.diverged == 3 and short.diverged is None
    assert same(kept.last, short.last) and same(kept.selected, short.last)
    assert kept.history.equals(short.history)
    assert same(kept.kept["epoch3.safetensors"], short.last) and not same(kept.kept["epoch1.safetensors"], short.last)


def test_the_attack_costs_input_gradients_only() -> None:
    """2k + 3 forward-equivalents: no weight gradient is computed while attacking."""
    model = make_model()
    touched = []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: touched.append(1))
    attack = loop.attack_maker(make_recipe(), ATTACKS, 0.1, 0)(0, torch.arange(8), 0.0)
    split, _ = make_splits()
    model.train()
    x_adv = attack(model, split.inputs(slice(8)), split.y[:8])
    assert not touched and model.training and all(p.requires_grad for p in model.parameters())
    assert (x_adv - split.inputs(slice(8))).abs().max() > 0.01


FULL = {
    "probes": {"robust": {"name": "accuracy", "parameters": {"split": "test", "attack": "pgd"}}},
    "traces": {"norm": {"name": "gradient_norm"}, "moved": {"name": "distance"}, "error": {"name": "error"}},
    "traced_updates": {"first": 5, "last": 3},
    "keep": [0.5],
    "phases": [
        {"at": 0.25, "method": "standard"},
        {"at": 0.75, "optimizer": {"name": "sgd", "parameters": {"lr": 0.01, "momentum": 0.9}}, "keep_state": True},
    ],
    "eps_schedule": {"kind": "cosine", "start": 0, "end": 1.5, "clip": 1, "hold": "epoch", "restarts": [0.5]},
}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_within_phases_with_traces_and_kept_weights(tmp_path: Path, stop: int) -> None:
    recipe, state = make_recipe(**FULL), tmp_path / "state.safetensors"
    train(recipe, state=state, fingerprint="f", until=stop)
    resumed, whole = train(recipe, state=state, fingerprint="f"), train(recipe)
    assert same(resumed.last, whole.last) and same(resumed.selected, whole.selected)
    assert resumed.history.equals(whole.history) and resumed.updates.equals(whole.updates)
    assert resumed.kept.keys() == whole.kept.keys() == {"epoch2.safetensors"}
    assert same(resumed.kept["epoch2.safetensors"], whole.kept["epoch2.safetensors"])


def test_traces_are_what_they_say() -> None:
    """Plain SGD without momentum moves by lr times the gradient, so the first distance is known."""
    sgd = {"name": "sgd", "parameters": {"lr": 0.05}}
    trained = train(make_recipe(**{**FULL, "optimizer": sgd, "phases": [], "probes": {}, "select": "last"}))
    updates = trained.updates
    assert list(updates["update"]) == [1, 2, 3, 4, 5, 14, 15, 16] and list(updates["epoch"]) == [1] * 4 + [2] + [4] * 3
    assert updates["moved"][0] == pytest.approx(0.05 * updates["norm"][0], rel=1e-5)
    assert updates["error"].between(0, 100).all()


def test_a_phase_changes_the_method_from_its_epoch_on() -> None:
    plain = {"probes": {}, "select": "last", "keep": [0.25, 0.75]}
    adversarial = train(make_recipe(**plain))
    changed = train(make_recipe(**plain, phases=[{"at": 0.5, "method": "standard"}]))
    assert same(adversarial.kept["epoch1.safetensors"], changed.kept["epoch1.safetensors"])
    assert not same(adversarial.kept["epoch3.safetensors"], changed.kept["epoch3.safetensors"])
    clean = train(make_recipe(**plain, phases=[{"at": 0.25, "method": "standard"}]), eps=0.0)
    assert same(clean.last, train(make_recipe(**plain), eps=0.0).last), "at eps = 0 the two methods are one"


def test_a_new_optimizer_takes_over_the_momentum_if_asked() -> None:
    """The same optimizer once more, its state kept, is no change; its state dropped, it is one."""
    plain = {"probes": {}, "select": "last"}
    recipe = make_recipe(**plain)
    again = {"at": 0.5, "optimizer": recipe.optimizer.model_dump()}
    whole = train(recipe).last
    assert same(train(make_recipe(**plain, phases=[{**again, "keep_state": True}])).last, whole)
    assert not same(train(make_recipe(**plain, phases=[again])).last, whole)


def test_the_epoch_of_a_collapse_can_be_trained_again(tmp_path: Path) -> None:
    """From the state kept at its start, one epoch gives the weights kept at its end, bit for bit."""
    probes = {
        column: {"name": "accuracy", "parameters": {"split": "test", "attack": attack}}
        for column, attack in (("robust", "pgd"), ("single", "fgsm"))
    }
    rule = {"probe": "robust", "single": "single", "share": 0.9}
    recipe = make_recipe(probes=probes, select="last", keep_collapse=rule, epochs=6)
    state = tmp_path / "state.safetensors"
    whole = train(recipe, state=state, fingerprint="f")
    robust, single = list(whole.history["robust"]), list(whole.history["single"])
    kept = [epoch for epoch in range(1, 7) if is_collapse_epoch(robust[:epoch], single[:epoch], 0.9)]
    assert kept, "robust accuracy drops somewhere in this run"
    seen = []
    again = train(
        recipe.model_copy(update={"probes": {}, "keep_collapse": None}),
        state=state.with_suffix(".collapse_start"),
        fingerprint="f",
        until=kept[-1],
        observe=lambda epoch, step, *_: seen.append((epoch, step)),
    )
    assert seen == [(kept[-1], step) for step in range(4)]
    assert same(again.last, checkpoints.load_checkpoint(state.with_suffix(".collapse_end"), "cpu")[0])


@pytest.mark.parametrize(
    ("values", "kept"),
    [([50, 60, 10, 5, 55, 1], [1, 2, 5]), ([50, 40, 45, 30], [1, 3]), ([1, 2, 3], [1]), ([5, 5], [1]), ([7], [])],
)
def test_which_collapse_is_kept(values: list[float], kept: list[int]) -> None:
    """Each collapse anew, so that the last one stays; before there is one, each drop larger than those before it."""
    single = [90 - value for value in values]
    assert [i for i in range(len(values)) if is_collapse_epoch(values[: i + 1], single[: i + 1], 0.3)] == kept


def test_weights_are_kept_when_the_distortion_has_gone(tmp_path: Path) -> None:
    """After the first epoch since the last collapse with less than 1 %; a new collapse discards them."""
    names = {"robust": "accuracy", "single": "accuracy", "bent": "distortion"}
    probes = {column: {"name": name, "parameters": {"split": "test"}} for column, name in names.items()}
    rule = {"probe": "robust", "single": "single", "distortion": "bent"}
    recipe = make_recipe(probes=probes, select="last", keep_collapse=rule, epochs=9)
    told = [
        (60, 65, 0),
        (5, 90, 40),
        (4, 90, 0),
        (3, 90, 0),
        (60, 66, 0),
        (2, 90, 50),
        (1, 90, 30),
        (1, 90, 0.5),
        (1, 90, 0),
    ]
    path, kept, epochs = tmp_path / "state", tmp_path / "state.distortion_vanished", []
    path.write_bytes(b"the state before")
    training = SimpleNamespace(recipe=recipe, model=make_model(), log=SimpleNamespace(rows=[]))
    for epoch, numbers in enumerate(told, 1):
        row = {"epoch": epoch, **dict(zip(names, numbers, strict=True))}
        training.log.rows.append(row)
        collapse_observer(recipe.keep_collapse, path)(training, row)
        epochs.append(checkpoints.load_checkpoint(kept, "cpu")[1]["epoch"] if kept.exists() else None)
    assert epochs == [None, None, 3, 3, 3, None, None, 8, 8]


def test_statistics_of_batchnorm_are_those_of_one_pass() -> None:
    """Two calls of the closure in a step update them once, by the call the optimizer names; losses one by one agree."""
    x, y = make_splits()[0].inputs(slice(20)), make_splits()[0].y[:20]

    class Twice(torch.optim.SGD):
        statistics_pass = 1

    def after(*calls: int, pass_number: int) -> torch.Tensor:
        model = make_model()
        optimizer = Twice(model.parameters(), lr=0.1)
        optimizer.statistics_pass = pass_number  # type: ignore[misc]
        closure = Closure(model)
        closure.begin(optimizer, CrossEntropy(model, x, y))
        for _ in calls:
            mean = closure()
            assert mean.item() == pytest.approx(closure.per_sample().mean().item(), rel=1e-5)
            with torch.no_grad():
                model[0].weight += 1
        return model[1].running_mean.clone()

    assert torch.equal(after(1, pass_number=0), after(1, 2, pass_number=0))
    assert not torch.equal(after(1, 2, pass_number=0), after(1, 2, pass_number=2))


@pytest.mark.parametrize("fill", [0.0, torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1)], ids=["black", "mean colour"])
def test_cutout_covers_a_square_of_each_image(fill: torch.Tensor | float) -> None:
    x = torch.ones(64, 3, 10, 10)
    draws = SampleGenerator.seeded(1, torch.arange(64), "cpu")
    cut = augment(x, draws, cutout=4, fill=fill)
    covered = (cut == fill).all(1)
    assert ((cut == 1).all(1) | covered).all(), "nothing else changes"
    area = covered.sum((1, 2))
    assert area.max() == 16 and area.min() >= 4 and len(area.unique()) > 1
    assert (covered.any(1).sum(1) * covered.any(2).sum(1) == area).all(), "a rectangle"


def test_cutout_is_zero_behind_the_standardisation_and_the_border_of_a_crop_is_black() -> None:
    """As in the code of DeVries and Taylor: crop, flip, normalise, cut out. A black square would be -1 or -2.5 for the net."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(100, 256, (60, 3, 10, 10), generator=draw, dtype=torch.uint8)
    split = Split(x, torch.arange(60) % 4, 255.0)
    model = build_classifier("small_cnn_bn", {"width": 2}, (3, 10, 10), 4, mean=(0.3, 0.4, 0.5), std=(0.3, 0.2, 0.2))
    seen: list[torch.Tensor] = []
    hook = model.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    recipe = make_recipe(
        method="standard", attack=None, probes={}, select="last", epochs=1, augmentation={"crop": 2, "cutout": 4}
    )
    loop.train(model, split, split, recipe, {}, 0.0, 0, progress=False)
    hook.remove()
    images = torch.cat(seen)
    covered = (images == 0).all(1)
    assert len(images) == 60 and covered.any((1, 2)).all() and covered.sum((1, 2)).max() == 16
    border = (images == model.normalize(torch.zeros(1, 3, 1, 1))).all(1)
    assert border.any() and not covered.all()
    assert not (border & covered).any()


def test_cutout_is_refused_before_training_where_no_input_is_standardised_to_zero() -> None:
    model = build_classifier("mlp", {"hidden": [4]}, (1, 6, 6), 4, per_image=True)
    recipe = make_recipe(probes={}, select="last", augmentation={"cutout": 2})
    with pytest.raises(ConfigError, match="'normalisation: per_image' has none"):
        loop.train(model, *make_splits(), recipe, ATTACKS, 0.1, 0, progress=False)


def test_a_last_batch_of_one_that_batchnorm_refuses_is_said_before_training() -> None:
    train_split, test_split = make_splits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    before = [p.clone() for p in model.parameters()]
    recipe = make_recipe(batch_size=21, probes={}, select="last")
    with pytest.raises(ConfigError, match=r"last batch of an epoch has 1 sample \(64 samples in batches of 21\)"):
        loop.train(model, train_split, test_split, recipe, ATTACKS, 0.1, 0, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    # Where each channel has more than one value it is no problem.
    one_epoch = make_recipe(batch_size=21, probes={}, select="last", epochs=1, attack="fgsm")
    loop.train(make_model(), train_split, test_split, one_epoch, ATTACKS, 0.1, 0, progress=False)


def test_training_against_a_targeted_attack_is_refused() -> None:
    attacks = {"pgd": AttackSpec(attack="pgd", targets="second")}
    with pytest.raises(ConfigError, match="must be untargeted"):
        loop.train(make_model(), *make_splits(), make_recipe(), attacks, 0.1, 0, progress=False)
