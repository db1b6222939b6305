"""Curves between two minima: the polynomial, its training, and batch normalisation on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.data.batches import epoch_order
from robustscape.errors import ConfigError
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.bezier import bernstein, bezier, move_to_curve
from robustscape.landscape.directions import flatten, parameters_of
from robustscape.landscape.surface import losses_and_correctness
from robustscape.models.batchnorm import recalibrate_batchnorm

FGSM = AttackSpec(attack="fgsm")


def net(seed: int, normalised: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    middle: list[nn.Module] = [nn.BatchNorm2d(4)] if normalised else []
    head = (nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *middle, *head).eval()


def trained(seed: int, normalised: bool = False) -> TrainedRun:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(48) % 3
    x = (torch.rand(3, 1, 4, 4, generator=generator)[y] + 0.2 * torch.randn(48, 1, 4, 4, generator=generator)).clamp(
        0, 1
    )
    model = net(seed, normalised).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    split, device = Split(x, y, 1.0), torch.device("cpu")
    path = Path(f"data/net/recipe/eps0.05/seed{seed}")
    return TrainedRun(model.eval(), split, split, 0.05, seed, device, 3, path=path, config={}, checkpoint="")


def values(rows: list[dict[str, Any]], metric: str, curve: str) -> list[float]:
    return [row["value"] for row in rows if row["metric"] == metric and row["curve"] == curve]


def test_bernstein_polynomials() -> None:
    assert bernstein(4, 0.0) == [1, 0, 0, 0, 0]
    assert bernstein(4, 1.0) == [0, 0, 0, 0, 1]
    assert bernstein(2, 0.5) == [0.25, 0.5, 0.25]
    assert sum(bernstein(5, 0.3)) == pytest.approx(1)


def test_equally_spaced_control_points_make_a_straight_line() -> None:
    model = net(0)
    size = flatten(parameters_of(model)).numel()
    ends = [torch.zeros(size), torch.ones(size)]
    move_to_curve(model, [torch.lerp(*ends, k / 4) for k in range(5)], 0.3)
    torch.testing.assert_close(flatten(parameters_of(model)), torch.full((size,), 0.3))


@pytest.mark.parametrize("normalised", [False, True])
def test_training_lowers_the_loss_between_the_ends(normalised: bool) -> None:
    first, second = trained(0, normalised), trained(1, normalised)
    before = [flatten(parameters_of(run.model)).clone() for run in (first, second)]
    rows = bezier([first, second], attack=FGSM, draws=60, batch_size=16, points=9)
    for run, weights in zip((first, second), before, strict=True):
        assert torch.equal(flatten(parameters_of(run.model)), weights)
    straight, bent = (values(rows, "adversarial_loss", curve) for curve in ("straight", "bezier"))
    assert len(straight) == len(bent) == 9
    assert (bent[0], bent[-1]) == pytest.approx((straight[0], straight[-1]))
    assert sum(bent[2:7]) < sum(straight[2:7])
    assert values(rows, "barrier", "straight")[0] == pytest.approx(max(straight) - max(straight[0], straight[-1]))


def test_the_inner_points_take_the_steps_of_the_release() -> None:
    """SGD with momentum 0.9 and weight decay 1e-6 on P_1 alone, by hand: B_1(t) = 2 t (1 - t) times the gradient."""
    runs, draws, size = [trained(0), trained(1)], 3, 48
    first, last = (flatten(parameters_of(run.model)) for run in runs)
    rate, decay, momentum = 0.05, 0.01, 0.9
    model, point = net(0), (first + last) / 2
    buffer = torch.zeros_like(point)
    places = SampleGenerator.seeded(7, torch.arange(draws)).uniform(())
    for update, t in enumerate(places.tolist()):
        move_to_curve(model, [first, point, last], t)
        index = epoch_order(48, 7, update, torch.device("cpu"))
        x, y = runs[0].train.inputs(index), runs[0].train.y[index]
        found = craft(model, x, y, FGSM, 0.05, seed=8 + update, index=index)
        gradients = torch.autograd.grad(nn.functional.cross_entropy(model(found), y), list(model.parameters()))
        g = 2 * t * (1 - t) * torch.cat([piece.reshape(-1) for piece in gradients]) + decay * point
        buffer = momentum * buffer + g
        point = point - rate * 0.1 ** ((update >= 1.5) + (update >= 2.25)) * buffer
    settings = {"lr": rate, "momentum": momentum, "weight_decay": decay}
    rows = bezier(runs, attack=FGSM, inner=1, draws=draws, batch_size=size, points=3, seed=7, **settings)
    move_to_curve(model, [first, point, last], 0.5)
    x, y = runs[0].test.inputs(), runs[0].test.y
    loss = losses_and_correctness(model, craft(model, x, y, FGSM, 0.05, seed=7), y)[0].double().mean().item()
    assert values(rows, "adversarial_loss", "bezier")[1] == pytest.approx(loss, rel=1e-5)
    defaults = catalog.find_entry("comparison", "bezier").parameters.model_fields
    assert (defaults["momentum"].default, defaults["weight_decay"].default) == (0.9, 1e-6)


def test_without_updates_both_curves_are_the_straight_line() -> None:
    rows = bezier([trained(0), trained(1)], attack=FGSM, inner=0, draws=5, points=5)
    assert values(rows, "adversarial_loss", "straight") == values(rows, "adversarial_loss", "bezier")


def test_ends_are_the_runs() -> None:
    runs = [trained(0), trained(1)]
    rows = bezier(runs, attack=FGSM, inner=1, draws=1, points=3)
    for run, place_on_curve in zip(runs, (0, -1), strict=True):
        x, y = run.test.inputs(), run.test.y
        loss = losses_and_correctness(run.model, craft(run.model, x, y, FGSM, 0.05, seed=0), y)[0].mean().item()
        assert values(rows, "adversarial_loss", "bezier")[place_on_curve] == pytest.approx(loss, rel=1e-5)


def test_statistics_are_those_of_the_inputs() -> None:
    model, x = net(0, normalised=True), torch.rand(30, 1, 4, 4)
    layer = model[1]
    assert isinstance(layer, nn.BatchNorm2d)
    recalibrate_batchnorm(model, [lambda: model(x)])
    activations = model[0](x)
    torch.testing.assert_close(layer.running_mean, activations.mean((0, 2, 3)))
    assert layer.momentum == 0.1
    assert not model.training


def test_two_runs_of_one_size_are_needed() -> None:
    with pytest.raises(ConfigError, match="two ends, got 1"):
        bezier([trained(0)], attack=FGSM)
    with pytest.raises(ConfigError, match="different sizes"):
        bezier([trained(0), trained(0, normalised=True)], attack=FGSM)
