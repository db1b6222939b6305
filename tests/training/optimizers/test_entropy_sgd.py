"""Entropy-SGD and AWP: closed forms, what they coincide with, resume bit for bit, and the training loop with them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Augmentation, Recipe
from robustscape.data import Split
from robustscape.data.batches import augment, epoch_order
from robustscape.errors import ConfigError
from robustscape.models.batchnorm import recalibrate_batchnorm
from robustscape.storage import checkpoints
from robustscape.training import loop
from robustscape.training.optimizers.awp import gradient_at_worst_weights

Closure = Callable[[], Tensor]


def make(name: str, parameters: Any, **settings: Any) -> Any:
    """An optimizer with the catalogue's defaults."""
    checked = catalog.find_entry("optimizer", name).parameters.model_validate(settings).model_dump()
    return catalog.load_function("optimizer", name)(list(parameters), **checked)


def closure_of(optimizer: Any, loss: Closure) -> Closure:
    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        return value

    return closure


def run(name: str, start: list[float], loss: Callable[[Tensor], Tensor], steps: int, **settings: Any) -> Tensor:
    weights = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = make(name, [weights], **settings)
    closure = closure_of(optimizer, lambda: loss(weights))
    for _ in range(steps):
        optimizer.step(closure)
    return weights.detach()


def quadratic(w: Tensor) -> Tensor:
    return (w**2 * torch.tensor([0.5, 2.0], dtype=w.dtype)).sum()  # L = k w^2 / 2, k = 1 and 4


PLAIN = {"lr": 0.5, "inner_lr": 0.1, "gamma": 0.3, "noise": 0.0, "averaging": 0.75, "inner_steps": 7}


def test_on_a_quadratic_it_is_the_recursion_of_the_work() -> None:
    """t_{i+1} = t_i - eta' (k t_i - gamma (theta - t_i)) has a closed form; theta moves lr times towards its average."""
    k = torch.tensor([1.0, 4.0], dtype=torch.float64)
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64)
    fixed, rate = 0.3 / (k + 0.3), 1 - 0.1 * (k + 0.3)
    expected = theta
    for _ in range(3):
        iterates = [fixed * expected + (1 - fixed) * expected * rate**i for i in range(1, 8)]
        mu = 0.75**7 * expected + sum(0.25 * 0.75 ** (7 - i) * t for i, t in enumerate(iterates, 1))
        expected = expected - 0.5 * (expected - mu)
    found = run("entropy_sgd", theta.tolist(), quadratic, 21, protocol="algorithm", **PLAIN)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_outer_step_follows_the_gradient_of_the_local_entropy() -> None:
    """A long noiseless inner loop ends at the mean gamma theta/(gamma + k) of p_theta, so theta - mu = F'/gamma (eq 11)."""
    settings = PLAIN | {"inner_steps": 400, "lr": 1.0, "protocol": "algorithm"}
    found = run("entropy_sgd", [1.0, -2.0], quadratic, 400, **settings)
    k, theta = torch.tensor([1.0, 4.0]).double(), torch.tensor([1.0, -2.0]).double()
    torch.testing.assert_close(found, theta - k / (0.3 + k) * theta, rtol=1e-9, atol=1e-12)


def test_between_outer_updates_the_weights_are_the_inner_ones() -> None:
    weights = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    optimizer = make("entropy_sgd", [weights], protocol="algorithm", **PLAIN)
    closure = closure_of(optimizer, lambda: quadratic(weights))
    optimizer.step(closure)
    torch.testing.assert_close(weights.detach(), torch.tensor([0.9, 0.6]).double())  # no pull yet: t = theta


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("steps", [1, 2, 5, 7, 9])
def test_an_epochs_end_interrupts_no_inner_loop(steps: int, order: str) -> None:
    """theta is in the parameters between epochs, and the path is the one without epochs, bit for bit."""
    settings = {**PLAIN, "noise": 0.1, "momentum": 0.9, "order": order}

    def start() -> tuple[nn.Parameter, Any, Closure]:
        torch.manual_seed(2)
        weights = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        optimizer = make("entropy_sgd", [weights], **settings)
        return weights, optimizer, closure_of(optimizer, lambda: quadratic(weights))

    theta, whole, closure = start()
    after, outer = [theta.detach().clone()], []
    weights, parted, again = start()
    for update in range(1, 22):
        whole.step(closure)
        if update % 7 == 0:
            after.append(theta.detach().clone())
        parted.step(again)
        if update % 7:
            assert torch.equal(weights, theta)
        if update % steps == 0:
            outer.append(parted.finish_epoch()["outer_updates"])
            assert torch.equal(weights, after[-1])
            assert parted.finish_epoch() == {"outer_updates": 0}
            assert torch.equal(weights, after[-1])
    outer.append(parted.finish_epoch()["outer_updates"])
    assert torch.equal(weights, theta) and sum(outer) == 3


@pytest.mark.parametrize("protocol", ["algorithm", "release"])
def test_one_inner_step_is_sgd(protocol: str) -> None:
    """L = 1, no noise, mu = t: theta - lr (theta - (theta - eta' g)) = theta - lr eta' g, whatever gamma is."""
    settings = {"lr": 1.0, "inner_lr": 0.1, "noise": 0.0, "averaging": 0.0, "inner_steps": 1, "protocol": protocol}
    ours = run("entropy_sgd", [1.0, -2.0], quadratic, 5, gamma=9.0, **settings)
    torch.testing.assert_close(ours, run("sgd", [1.0, -2.0], quadratic, 5, lr=0.1), rtol=1e-12, atol=1e-14)


def test_a_strong_pull_keeps_the_weights_where_they_are() -> None:
    """gamma -> infinity: p_theta is a point at theta, F has the gradient of L, and theta - mu, its 1/gamma-th, vanishes.

    With lr gamma instead of lr the outer step is a gradient step.
    """
    moved = {}
    for gamma in (1e2, 1e4, 1e6):
        settings = {
            "inner_lr": 0.5 / gamma,
            "noise": 0.0,
            "averaging": 0.0,
            "inner_steps": 200,
            "protocol": "algorithm",
        }
        moved[gamma] = run("entropy_sgd", [1.0, -2.0], quadratic, 200, lr=gamma * 0.01, gamma=gamma, **settings)
    gradient_step = run("sgd", [1.0, -2.0], quadratic, 1, lr=0.01)
    errors = [(m - gradient_step).abs().max().item() for m in moved.values()]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-6


def test_release_mode_is_the_published_code() -> None:
    """Nesterov momentum and weight decay inside and outside, the inner buffer new at every outer update."""
    lr, inner_lr, mom, wd, gamma, a, steps = 0.3, 0.1, 0.9, 0.01, 0.2, 0.75, 4
    k = torch.tensor([1.0, 4.0], dtype=torch.float64)
    w, outer = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        theta, mu, inner = w.clone(), w.clone(), torch.zeros_like(w)
        for _ in range(steps):
            g = k * w + wd * w
            inner = mom * inner + g
            g = g + mom * inner - gamma * (theta - w)
            w = w - inner_lr * g
            mu = a * mu + (1 - a) * w
        move = theta - mu + wd * theta
        outer = mom * outer + move
        w = theta - lr * (move + mom * outer)
    found = run(
        "entropy_sgd",
        [1.0, -2.0],
        quadratic,
        12,
        lr=lr,
        inner_lr=inner_lr,
        momentum=mom,
        weight_decay=wd,
        gamma=gamma,
        noise=0.0,
        averaging=a,
        inner_steps=steps,
        protocol="release",
    )
    torch.testing.assert_close(found, w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("protocol", "deviation"), [("algorithm", 0.1**0.5), ("release", 0.2**0.5)])
def test_noise_has_the_deviation_of_its_protocol(protocol: str, deviation: float) -> None:
    torch.manual_seed(3)
    settings = {"lr": 1.0, "inner_lr": 0.1, "gamma": 0.0, "noise": 1.0, "averaging": 0.0, "inner_steps": 1}
    found = run("entropy_sgd", [0.0] * 20_000, lambda w: (0 * w).sum(), 1, protocol=protocol, **settings)
    assert found.std().item() == pytest.approx(deviation, rel=0.03) and abs(found.mean().item()) < 0.02
    again = run("entropy_sgd", [0.0] * 20_000, lambda w: (0 * w).sum(), 1, protocol=protocol, **settings)
    assert torch.equal(found, again)
    torch.manual_seed(4)
    assert not torch.equal(
        found, run("entropy_sgd", [0.0] * 20_000, lambda w: (0 * w).sum(), 1, protocol=protocol, **settings)
    )


def test_second_order_scales_the_step_by_the_variance() -> None:
    """theta - lr (theta - mu)/(1 - gamma s) with s of the inner iterates (eq 77); never below the least curvature."""
    theta, a, gamma, inner_lr = 1.5, 0.6, 2.0, 0.1
    t, mu, square = theta, theta, theta**2
    for _ in range(5):
        t = t - inner_lr * (4 * t - gamma * (theta - t))
        mu, square = a * mu + (1 - a) * t, a * square + (1 - a) * t * t
    expected = theta - 0.5 * (theta - mu) / (1 - gamma * (square - mu * mu))
    settings = {"lr": 0.5, "inner_lr": inner_lr, "gamma": gamma, "noise": 0.0, "averaging": a, "inner_steps": 5}
    found = run("entropy_sgd", [0.0, theta], quadratic, 5, order="second", protocol="algorithm", **settings)
    assert found[1].item() == pytest.approx(expected, rel=1e-12)
    first = run("entropy_sgd", [0.0, theta], quadratic, 5, order="first", protocol="algorithm", **settings)
    assert abs(found[1] - theta) > abs(first[1] - theta) > 0
    wild = run(
        "entropy_sgd",
        [0.0, theta],
        lambda w: -quadratic(w),
        5,
        order="second",
        protocol="algorithm",
        **settings | {"gamma": 50.0, "inner_lr": 0.5},
    )
    assert torch.isfinite(wild).all()


def test_the_algorithm_has_no_momentum() -> None:
    with pytest.raises(ConfigError, match=r"no momentum, got 0\.9"):
        make("entropy_sgd", [nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9, protocol="algorithm")


# -- adversarial weight perturbation -----------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.norm(self.first(x.flatten(1)))))


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.rand(32, 6), torch.randint(3, (32,))


def trained(name: str, steps: int = 6, **settings: Any) -> tuple[Net, list[float]]:
    model, (x, y) = Net(), batch()
    optimizer = make(name, model.parameters(), **settings)
    model.train()
    closure = closure_of(optimizer, lambda: F.cross_entropy(model(x), y))
    losses = [optimizer.step(closure).item() for _ in range(steps)]
    return model, losses


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
ENTROPY = SGD | {"inner_steps": 3, "noise": 1e-3}


@pytest.mark.parametrize(
    ("name", "base", "settings", "off"),
    [
        ("awp", "sgd", SGD, {"gamma": 0.0}),
        ("entropy_sgd", "entropy_sgd", ENTROPY, {"awp_gamma": 0.0}),
        ("entropy_sgd", "entropy_sgd", ENTROPY, {"awp_gamma": 1e-30}),  # lost in rounding, but two passes
    ],
)
def test_a_perturbation_of_no_length_is_the_base_bit_for_bit(name: str, base: str, settings: Any, off: Any) -> None:
    ours, losses = trained(name, **settings, **off)
    theirs, expected = trained(base, **settings)
    assert same(ours, theirs) and losses == expected
    assert not same(ours, trained(name, **settings, **dict.fromkeys(off, 0.01))[0])


def test_awp_is_sgd_at_perturbed_weights() -> None:
    """One step by hand: v along the gradient, gamma times the layer's norm long, for matrices only."""
    model, (x, y) = Net(), batch()
    expected = copy.deepcopy(model)
    optimizer = make("awp", model.parameters(), lr=0.1, gamma=0.05, weight_decay=0.01)
    optimizer.step(closure_of(optimizer, lambda: F.cross_entropy(model(x), y)))

    def gradient() -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(expected(x), y), list(expected.parameters())))

    moves = [
        0.05 * p.norm() * g / g.norm() if p.dim() > 1 else torch.zeros_like(p)
        for p, g in zip(expected.parameters(), gradient(), strict=True)
    ]
    with torch.no_grad():
        for p, v in zip(expected.parameters(), moves, strict=True):
            p.add_(v)
    second = gradient()
    with torch.no_grad():
        for p, v, g in zip(expected.parameters(), moves, second, strict=True):
            p.sub_(0.1 * (g + 0.01 * p)).sub_(v)
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_awp_restores_the_weights() -> None:
    model, (x, y) = Net(), batch()
    before, steps = copy.deepcopy(model), []
    optimizer = make("awp", model.parameters(), lr=1e-12, gamma=0.1)
    inner = closure_of(optimizer, lambda: F.cross_entropy(model(x), y))

    def closure() -> Tensor:
        steps.append(model.first.weight.detach().clone())
        return inner()

    optimizer.step(closure)
    assert len(steps) == 2 and (steps[1] - steps[0]).norm().item() == pytest.approx(
        0.1 * steps[0].norm().item(), rel=1e-4
    )
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    gradient_at_worst_weights(closure, list(model.parameters()), gamma=0.1)
    kept = copy.deepcopy(model)
    gradient_at_worst_weights(closure, list(model.parameters()), gamma=0.1)
    assert same(model, kept)


def test_awp_descends_where_the_loss_is_higher() -> None:
    model, (x, y) = Net(), batch()
    losses: list[float] = []
    optimizer = make("awp", model.parameters(), lr=0.1, gamma=0.02)
    inner = closure_of(optimizer, lambda: F.cross_entropy(model(x), y))

    def closure() -> Tensor:
        value = inner()
        losses.append(value.item())
        return value

    returned = [optimizer.step(closure).item() for _ in range(5)]
    assert returned == losses[::2] and all(worst > here for here, worst in zip(losses[::2], losses[1::2], strict=True))


def test_batch_statistics_are_those_of_the_last_pass() -> None:
    assert make("awp", Net().parameters(), lr=0.1).statistics_pass == 1
    assert make("entropy_sgd", Net().parameters(), lr=0.1, awp_gamma=0.01).statistics_pass == 1
    assert make("entropy_sgd", Net().parameters(), lr=0.1).statistics_pass == 0


# -- state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("awp_gamma", [0.0, 0.01])
def test_resume_in_the_middle_of_an_inner_loop(awp_gamma: float, order: str, tmp_path: Path) -> None:
    x, y = batch()
    settings = ENTROPY | {"order": order, "awp_gamma": awp_gamma}

    def start() -> tuple[Net, Any, Closure]:
        model = Net()
        optimizer = make("entropy_sgd", model.parameters(), **settings)
        return model, optimizer, closure_of(optimizer, lambda: F.cross_entropy(model(x), y))

    torch.manual_seed(11)
    model, optimizer, closure = start()
    for _ in range(4):
        optimizer.step(closure)
    tensors, metadata = checkpoints.flatten_optimizer(optimizer)
    checkpoints.save_checkpoint(tmp_path / "o.safetensors", tensors, metadata)
    weights = copy.deepcopy(model.state_dict())
    for _ in range(5):
        optimizer.step(closure)

    torch.manual_seed(99)  # the noise goes on from what was saved, whatever the process's seed is
    resumed, other, again = start()
    resumed.load_state_dict(weights)
    checkpoints.restore_optimizer(other, *checkpoints.load_checkpoint(tmp_path / "o.safetensors", "cpu"))
    for _ in range(5):
        other.step(again)
    assert same(model, resumed)


def make_splits() -> tuple[Split, Split]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (96, 1, 6, 6), generator=draw, dtype=torch.uint8)
    y = (x.float().mean((1, 2, 3)) > 127).long() + 2 * (x[:, 0, 0, 0] > 127).long()
    return Split(x[:64], y[:64], 255.0), Split(x[64:], y[64:], 255.0)


ATTACKS = {
    "pgd": AttackSpec(attack="pgd", parameters={"steps": 2, "rel_step_size": 0.5}, model_mode="train"),
    "kl": AttackSpec(attack="kl_pgd", parameters={"steps": 2, "rel_step_size": 0.5}),
}


def recipe(**changes: Any) -> Recipe:
    content = {
        "method": "adversarial",
        "attack": "pgd",
        "optimizer": {"name": "entropy_sgd", "parameters": {"lr": 0.5, "inner_steps": 3, "momentum": 0.9}},
        "epochs": 4,
        "batch_size": 20,  # four batches an epoch: every epoch ends within an inner loop, but the third
    }
    return Recipe.model_validate(content | changes)


def make_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def train(content: Recipe, eps: float = 0.1, **options: Any) -> loop.Trained:
    return loop.train(make_net(), *make_splits(), content, ATTACKS, eps, 3, progress=False, **options)


SWITCH = {
    "optimizer": {"name": "sgd", "parameters": {"lr": 0.1, "momentum": 0.9}},
    "phases": [
        {
            "at": 0.25,
            "optimizer": {"name": "entropy_sgd", "parameters": {"lr": 0.5, "inner_steps": 3, "awp_gamma": 0.005}},
        },
        {"at": 0.75, "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}}},
    ],
}


@pytest.mark.parametrize("changes", [{}, SWITCH, {"recalibrate": 2}], ids=["entropy_sgd", "phases", "recalibrate"])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_killed_training_goes_on_bit_for_bit(changes: dict[str, Any], stop: int, tmp_path: Path) -> None:
    content, state = recipe(**changes), tmp_path / "state.safetensors"
    train(content, state=state, fingerprint="f", until=stop)
    resumed = train(content, state=state, fingerprint="f")
    whole = train(content)
    assert all(torch.equal(resumed.last[name], tensor) for name, tensor in whole.last.items())
    assert resumed.history.equals(whole.history)


@pytest.mark.parametrize("select", ["last", "robust"])
def test_statistics_that_training_left_are_kept_beside_the_new_ones(select: str, tmp_path: Path) -> None:
    """They are those of the same training without recalibration, whose attack (in eval mode here) saw them; also if resumed."""
    probe: dict[str, Any] = {"name": "accuracy", "parameters": {"split": "test", "attack": "pgd"}}
    probes = {"robust": probe}
    eval_mode = {"attack": "kl", "method": "trades", "probes": probes, "select": select}
    state, again = tmp_path / "state.safetensors", recipe(recalibrate=3, **eval_mode)
    train(again, state=state, fingerprint="f", until=2)
    result, plain = train(again, state=state, fingerprint="f"), train(recipe(**eval_mode, keep=[0.25, 0.5, 0.75]))
    kept = result.kept["as_trained.safetensors"]
    expected = {**plain.kept, "epoch4.safetensors": plain.last}[f"epoch{result.epoch}.safetensors"]
    assert set(kept) == set(expected) and all(torch.equal(kept[name], tensor) for name, tensor in expected.items())
    assert not torch.equal(result.selected["1.running_mean"], kept["1.running_mean"])
    assert "as_trained.safetensors" not in plain.kept
    both = {"robust": probe, "left": probe | {"as_trained": True}}
    history = train(recipe(recalibrate=3, **(eval_mode | {"probes": both}))).history
    assert history["left"].tolist() == plain.history["robust"].tolist() != history["robust"].tolist()


def test_recalibration_changes_statistics_and_nothing_else() -> None:
    """The weights of training never see the running statistics, when the attack is in training mode."""
    plain, again = train(recipe()).last, train(recipe(recalibrate=3)).last
    assert set(plain) == set(again)
    statistics = {name for name in plain if "running" in name}
    assert statistics and all(
        torch.equal(plain[name], again[name]) != (name in statistics) for name in plain if "num" not in name
    )


@pytest.mark.parametrize("content", [{}, {"method": "trades", "attack": "kl"}], ids=["adversarial", "trades"])
def test_recalibrated_statistics_are_those_of_the_losses_own_inputs(content: dict[str, Any]) -> None:
    """Of inputs attacked at the last weights, with batch statistics; of clean ones too if the loss sees them."""
    epsilon, images, flips = 0.2, make_splits()[0], Augmentation(flip=True)
    result = train(recipe(recalibrate=4, augmentation=flips, **content), eps=epsilon)
    model = make_net()
    model.load_state_dict(result.last)
    means: list[Tensor] = []
    order = epoch_order(64, loop.derive_seed(3, "order"), 3, torch.device("cpu"))
    make_attack = loop.attack_maker(recipe(**content), ATTACKS, epsilon, 3)
    for index in order.split(20):
        draws = SampleGenerator.seeded(loop.derive_seed(3, "augmentation", 3), index, torch.device("cpu"))
        x, y = augment(images.inputs(index), draws, **flips.model_dump()), images.y[index]
        attacked = replace(make_attack(3, index, 0.99), train_mode=True)(copy.deepcopy(model), x, y)
        assert 0.1 < (attacked - x).abs().max() <= epsilon + 1e-6
        seen = [attacked, x] if content else [attacked]
        means += [model[0](part).mean((0, 2, 3)) for part in seen]
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


def test_the_history_counts_outer_updates() -> None:
    """Four steps an epoch and L = 3: a loop that an epoch's end interrupts makes its update in the next."""
    assert train(recipe()).history["outer_updates"].tolist() == [1, 1, 2, 1]
    switched = train(recipe(**SWITCH)).history["outer_updates"].tolist()
    assert math.isnan(switched[0]) and switched[1:3] == [1, 1] and math.isnan(switched[3])
    plain = recipe(optimizer={"name": "sgd", "parameters": {"lr": 0.1}})
    assert "outer_updates" not in train(plain).history


def test_the_weights_of_an_epoch_are_theta() -> None:
    """Epochs shorter than the inner loop leave theta where it began until the loop is done."""
    slow = recipe(optimizer={"name": "entropy_sgd", "parameters": {"lr": 0.5, "inner_steps": 9}}, epochs=3)
    start, weights = make_net().state_dict(), []
    for stop in (1, 2, 3):
        weights.append(train(slow, until=stop).last["0.weight"])
    assert torch.equal(weights[0], start["0.weight"]) and torch.equal(weights[1], start["0.weight"])
    assert not torch.equal(weights[2], start["0.weight"])


def test_what_a_method_logs_is_of_theta() -> None:
    """Of the first epoch's batches that is the first one; within the inner loop, which the second epoch does not leave, none."""
    within = {"lr": 0.5, "inner_steps": 9, "inner_lr": 5.0}
    history = train(
        recipe(method="standard", attack=None, parameters={"log_error": True}, epochs=3).model_copy(
            update={"optimizer": recipe(optimizer={"name": "entropy_sgd", "parameters": within}).optimizer}
        ),
        eps=0.0,
    ).history
    split = make_splits()[0]
    first = epoch_order(64, loop.derive_seed(3, "order"), 0, split.y.device)[:20]
    wrong = make_net().train()(split.inputs(first)).argmax(1) != split.y[first]
    assert history["train_error"][0] == pytest.approx(100 * wrong.float().mean().item())
    assert math.isnan(history["train_error"][1]) and not math.isnan(history["train_error"][2])


def test_entropy_sgd_learns() -> None:
    """After an epoch the weights are theta, and the loss has fallen."""
    result = train(recipe(epochs=12), eps=0.01)
    losses = result.history["train_loss"].tolist()
    assert losses[-1] < 0.9 * losses[0] and all(math.isfinite(value) for value in losses)


# -- TRADES ------------------------------------------------------------------------------------------------------------


def trained_by(method: str, **parameters: Any) -> dict[str, Tensor]:
    optimizer = {"name": "sgd", "parameters": {"lr": 0.05, "momentum": 0.9}}
    attack = {"attack": "kl"} if method == "trades" else {"attack": None}
    return train(recipe(method=method, parameters=parameters, optimizer=optimizer, **attack)).last


def test_trades_without_divergence_is_standard_training() -> None:
    ours, theirs = trained_by("trades", beta=0.0), trained_by("standard")
    weights = [name for name in theirs if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(ours[name], theirs[name]) for name in weights)
    other = trained_by("trades", beta=6.0)
    assert not all(torch.equal(other[name], theirs[name]) for name in weights)


def test_trades_is_its_formula() -> None:
    """CE + beta mean KL(p || p'), with gradients through both predictions."""
    from robustscape.attacks.base.threat import ThreatModel
    from robustscape.training.attack import TrainingAttack

    model = make_net().double().eval()
    x, y = torch.rand(10, 1, 6, 6).double(), torch.arange(10) % 4
    attack = TrainingAttack(
        lambda model, x, y, threat, generator: (x + 0.05).clamp(0, 1),
        {},
        ThreatModel("Linf", 0.1),
        SampleGenerator.seeded(0, 10),
    )
    loss = catalog.load_function("method", "trades")(model, x, y, attack, beta=3.0)()
    p, q = model(x).softmax(1), model((x + 0.05).clamp(0, 1)).softmax(1)
    expected = F.cross_entropy(model(x), y) + 3.0 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_attack_of_trades_raises_the_divergence() -> None:
    from robustscape.attacks.kl_pgd import kl_divergence
    from robustscape.evaluation.harness.craft import craft

    model = make_net().eval()
    x, y = torch.rand(40, 1, 6, 6), torch.zeros(40, dtype=torch.long)
    clean = model(x).detach()
    values = []
    for steps in (1, 10):
        spec = AttackSpec(attack="kl_pgd", parameters={"steps": steps, "rel_step_size": 0.3})
        values.append(kl_divergence(model(craft(model, x, y, spec, 0.1, seed=0)), clean).mean().item())
    noise = craft(model, x, y, AttackSpec(attack="random_noise"), 0.1, seed=0)
    assert values[1] > values[0] > 0 and values[1] > 3 * kl_divergence(model(noise), clean).mean().item()
    flipped = craft(model, x, 1 - y, AttackSpec(attack="kl_pgd"), 0.1, seed=0)
    assert torch.equal(flipped, craft(model, x, y, AttackSpec(attack="kl_pgd"), 0.1, seed=0))  # no label is used


# -- batch statistics --------------------------------------------------------------------------------------------------


def test_recalibrated_statistics_are_the_means_over_the_batches() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    model[1].eval()
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(7.0)
    batches = [torch.randn(20, 3) + i for i in range(4)]
    recalibrate_batchnorm(model, [partial(model, batch) for batch in batches])
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert model.training and norm.training and not model[1].training and norm.momentum == 0.1
