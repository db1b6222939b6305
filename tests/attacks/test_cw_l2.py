"""Carlini and Wagner's attack of smallest norm: closed form of linear models, two libraries, what it keeps, and its ball."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import foolbox
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen, misclassified, predict
from robustscape.attacks.base.losses import margin
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.cw_l2 import cw_l2
from robustscape.attacks.cw_linf import cw_linf
from robustscape.attacks.waveforms import waveform_eps

DIMENSIONS, CLASSES, SAMPLES = 12, 4, 40


@pytest.fixture
def linear() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(DIMENSIONS, CLASSES).double().requires_grad_(False)
    x = torch.randn(SAMPLES, DIMENSIONS, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def run(model: Any, x: Tensor, y: Tensor, threat: ThreatModel, **parameters: Any) -> Tensor:
    return cw_l2(model, x, y, threat, SampleGenerator.seeded(0, len(x)), **parameters)


def distance_to_the_boundary(model: nn.Linear, x: Tensor, y: Tensor, kappa: float = 0.0) -> Tensor:
    """min over j != y of (z_y - z_j + kappa) / ||w_y - w_j||."""
    gap = model(x).gather(1, y[:, None]) - model(x) + kappa
    normal = (model.weight[y][:, None] - model.weight).norm(dim=2)
    return (gap / normal).scatter(1, y[:, None], torch.inf).amin(1)


@pytest.mark.parametrize(("kappa", "bounds"), [(0.0, None), (0.5, (-20.0, 20.0))])
@pytest.mark.parametrize(("c", "searches"), [(1.0, 8), (1e-3, 10), (1e3, 10)])
def test_the_smallest_delta_of_a_linear_model(linear: Any, kappa: float, bounds: Any, c: float, searches: int) -> None:
    """Within 3 % of the distance to the boundary of two classes, never below it; of four, a few end at another class."""
    threat = ThreatModel("Linf", 10.0, bounds)
    settings = {"steps": 150, "step_size": 0.02, "c": c, "kappa": kappa, "search_steps": searches}
    model, x, y = linear
    two = nn.Linear(DIMENSIONS, 2).double().requires_grad_(False)
    for net, labels, least in ((two, two(x).argmax(1), 1.0), (model, y, 0.7)):
        found = run(net, x, labels, threat, **settings)
        assert misclassified(net(found), labels).all() and (margin(net(found), labels) >= kappa).all()
        length, nearest = (found - x).norm(dim=1), distance_to_the_boundary(net, x, labels, kappa)
        assert (length >= nearest * (1 - 1e-9)).all()
        close = length <= 1.03 * nearest + 0.01
        assert close.double().mean() >= least, (length / nearest).max()


def test_one_c_leaves_samples_unbroken_whose_distance_costs_more_than_their_margin(linear: Any) -> None:
    """||delta||^2 + c max(m - g delta, 0) is lowest at min(c g / 2, m / g): beyond the boundary exactly if c > 2 m / g^2."""
    model, x, _ = linear
    model = nn.Linear(DIMENSIONS, 2).double().requires_grad_(False)
    y = model(x).argmax(1)
    slope = (model.weight[0] - model.weight[1]).norm()
    least = 2 * -margin(model(x), y) / slope**2
    threat = ThreatModel("Linf", 10.0, None)
    for c in (0.5, 1.0, 2.0):
        clear = (least / c - 1).abs() > 0.1
        found = run(model, x, y, threat, steps=800, step_size=0.005, c=c, search_steps=1)
        broken = misclassified(model(found), y)
        assert 0 < broken.double().mean() < 1, "both cases are there"
        assert torch.equal(broken[clear], (least < c)[clear])
        last = (found - x).norm(dim=1)[clear & ~broken]
        torch.testing.assert_close(last, torch.full_like(last, float(c * slope / 2)), rtol=0.02, atol=0)


def test_a_ball_that_does_not_reach_the_boundary_keeps_all_samples_right(linear: Any) -> None:
    """In L-infinity the boundary is at min_j gap / ||w_y - w_j||_1: not broken below it, broken beyond, on the ball's edge."""
    model, x, y = linear
    gap = model(x).gather(1, y[:, None]) - model(x)
    normal = (model.weight[y][:, None] - model.weight).abs().sum(2)
    edge = (gap / normal).scatter(1, y[:, None], torch.inf).amin(1)
    for factor, breaks in ((0.98, False), (1.3, True)):
        threat = ThreatModel("Linf", factor * edge, None)
        found = run(model, x, y, threat, steps=300, rel_step_size=0.02, c=100.0)
        assert (threat.distance(found, x) <= factor * edge * (1 + 1e-9)).all()
        assert misclassified(model(found), y).double().mean() == float(breaks)
    smallest = (found - x).norm(dim=1) / distance_to_the_boundary(model, x, y)
    assert (smallest > 1.05).any(), "the ball binds"


def test_what_is_misclassified_already_is_not_moved(linear: Any) -> None:
    model, x, y = linear
    wrong = (y + 1) % CLASSES
    assert torch.equal(run(model, x, wrong, ThreatModel("Linf", 1.0, None), steps=5, search_steps=2), x)


def sizes(digits: Any, found: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each image is misclassified, and how far it was moved."""
    return misclassified(predict(digits.model, found), digits.y), (found - digits.x).flatten(1).norm(dim=1)


class Widened(nn.Module):
    """A net of images in [0, 1] for images in [0.2, 0.8], where the libraries' tanh moves as freely as we do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((x - 0.2) / 0.6)
        return logits


def inside(digits: Any, count: int) -> Any:
    """The first ``count`` images with all pixels off the ends of the range, and the net of such images."""
    first = digits.first(count)
    return dataclasses.replace(first, model=Widened(first.model).eval(), x=0.2 + 0.6 * first.x)


def test_it_is_as_near_as_foolbox(digits: Any) -> None:
    """With a search for c: all images are broken by both, at the same distance, though Foolbox's delta is a tanh."""
    digits = inside(digits, 60)
    library = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=5, steps=120, stepsize=0.02, initial_const=0.1, abort_early=False
    )
    wrapped = foolbox.PyTorchModel(digits.model, bounds=(0, 1), device="cpu")
    theirs, _, _ = library(wrapped, digits.x, digits.y, epsilons=None)
    with frozen(digits.model):
        threat = ThreatModel("Linf", 1.0)
        ours = run(digits.model, digits.x, digits.y, threat, steps=120, step_size=0.01, c=0.1, search_steps=5)
    (broken, length), (their_broken, their_length) = sizes(digits, ours), sizes(digits, theirs)
    assert broken.all() and their_broken.all()
    assert length.median() > 0.1
    assert float(length.mean()) == pytest.approx(float(their_length.mean()), rel=0.05)
    moved = their_length > 0.05
    assert ((length / their_length)[moved] - 1).abs().median() < 0.05


@pytest.mark.parametrize("c", [0.05, 0.3])
def test_one_c_breaks_what_torchattacks_breaks(digits: Any, c: float) -> None:
    """torchattacks' CW, of the author of kim2023, has one c, too: at a small one both leave images. It stops earlier."""
    digits = inside(digits, 120)
    theirs = torchattacks.CW(digits.model, c=c, kappa=0, steps=150, lr=0.02)(digits.x, digits.y)
    with frozen(digits.model):
        threat = ThreatModel("Linf", 1.0)
        ours = run(digits.model, digits.x, digits.y, threat, steps=150, step_size=0.01, c=c, search_steps=1)
    (broken, length), (their_broken, their_length) = sizes(digits, ours), sizes(digits, theirs)
    assert (their_broken & ~broken).double().mean() < 0.02 and 0.2 < their_broken.double().mean() < 0.99
    assert (broken == their_broken).double().mean() > 0.8 and (c > 0.1 or not broken.all())
    both = broken & their_broken & (their_length > 0.05)
    assert both.sum() > 5
    assert float(length[both].mean()) == pytest.approx(float(their_length[both].mean()), rel=0.1)


def test_it_moves_less_than_the_loop_of_signs_and_breaks_as_much(digits: Any) -> None:
    digits = digits.first(100)
    threat = ThreatModel("Linf", 0.25)
    with frozen(digits.model):
        small = run(digits.model, digits.x, digits.y, threat, c=10.0, search_steps=3)
        signs = cw_linf(digits.model, digits.x, digits.y, threat, SampleGenerator.seeded(0, 100), steps=10)
    (broken, length), (of_signs, further) = sizes(digits, small), sizes(digits, signs)
    assert broken.sum() >= of_signs.sum() - 2 and of_signs.sum() > 60
    both = broken & of_signs & (further > 0)
    assert length[both].mean() < 0.8 * further[both].mean()


def test_success_is_kept_when_later_steps_lose_it(linear: Any) -> None:
    """More steps and more c never return a longer delta, nor lose a sample; the last iterate alone does both."""
    model, x, y = linear
    threat = ThreatModel("Linf", 10.0, None)
    shorter = torch.full((SAMPLES,), math.inf, dtype=torch.float64)
    for steps in (20, 40, 80, 160):
        found = run(model, x, y, threat, steps=steps, step_size=0.05, c=3.0, search_steps=1)
        length = torch.where(misclassified(model(found), y), (found - x).norm(dim=1), torch.inf)
        assert (length <= shorter + 1e-12).all()
        shorter = length
    assert (shorter < torch.inf).double().mean() > 0.5
    shorter = torch.full((SAMPLES,), math.inf, dtype=torch.float64)
    for searches in (1, 2, 4, 8):
        found = run(model, x, y, threat, steps=60, step_size=0.05, c=0.01, search_steps=searches)
        length = torch.where(misclassified(model(found), y), (found - x).norm(dim=1), torch.inf)
        assert (length <= shorter + 1e-12).all()
        shorter = length
    assert (shorter < torch.inf).all()


def test_the_budget_of_a_clip_in_decibels_is_kept() -> None:
    """dB_x(delta) <= -20 for clips of any peak: the largest sample of delta is at most a tenth of the clip's."""
    torch.manual_seed(0)
    x = torch.logspace(-3, -0.1, 20)[:, None, None] * (2 * torch.rand(20, 1, 60) - 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, CLASSES)).requires_grad_(False)
    y, eps = model(x).argmax(1), waveform_eps(x)
    found = run(model, x, y, ThreatModel("Linf", eps, (-1.0, 1.0)), c=1e4, search_steps=2)
    moved = (found - x).flatten(1).abs().amax(1)
    assert (moved <= eps * (1 + 1e-4)).all() and (moved > 0).all()


def test_the_order_and_the_company_of_samples_change_nothing(linear: Any) -> None:
    model, x, y = linear
    eps = torch.rand(SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = run(model, x, y, ThreatModel("Linf", eps, None), steps=20, search_steps=4)
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(2))
    shuffled = run(model, x[order], y[order], ThreatModel("Linf", eps[order], None), steps=20, search_steps=4)
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-9)
    alone = run(model, x[3:4], y[3:4], ThreatModel("Linf", eps[3:4], None), steps=20, search_steps=4)
    torch.testing.assert_close(alone, together[3:4], rtol=0, atol=1e-9)
