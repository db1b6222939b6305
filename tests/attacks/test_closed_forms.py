"""Attacks where the answer is known: linear models, special cases, noise of known moments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pyautoattack.fab_projections import projection_l1, projection_l2, projection_linf
from torch import Tensor, nn

from robustscape.attacks._boundary import project_on_hyperplane
from robustscape.attacks._bumps import one_bump
from robustscape.attacks.apgd import apgd
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import misclassified, predict
from robustscape.attacks.base.losses import cross_entropy, dlr, dlr_targeted, margin
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.bim import bim
from robustscape.attacks.cw_linf import cw_linf
from robustscape.attacks.fab import fab
from robustscape.attacks.fgsm import fgsm
from robustscape.attacks.gaussian_noise import gaussian_noise
from robustscape.attacks.pgd import pgd
from robustscape.attacks.random_noise import random_noise
from robustscape.attacks.simba import simba
from robustscape.attacks.square import SCHEDULE, _window_share, square

DIMENSIONS, SAMPLES, EPS = 12, 64, 0.3


class Logistic(nn.Module):
    """Logits (0, w.x + b): the cross-entropy is softplus(-s (w.x + b)) for s = +-1."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture
def linear() -> tuple[Logistic, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(DIMENSIONS, generator=generator, dtype=torch.float64)
    x = torch.randn(SAMPLES, DIMENSIONS, generator=generator, dtype=torch.float64)
    model = Logistic(weight, 0.1)
    return model, x, model(x).argmax(1)


def streams(count: int = SAMPLES) -> SampleGenerator:
    return SampleGenerator.seeded(0, count)


def worst_loss(model: Logistic, x: Tensor, y: Tensor, norm: str, eps: float) -> Tensor:
    """softplus(-s f(x) + eps ||w||_dual)."""
    dual = model.weight.norm(p=1 if norm == "Linf" else 2)
    return F.softplus(-(2 * y - 1) * model(x)[:, 1] + eps * dual)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    ("attack", "parameters"),
    [
        (fgsm, {}),
        (bim, {"steps": 8}),
        (pgd, {"steps": 40}),
        (pgd, {"steps": 40, "restarts": 3, "keep_best": True}),
        (pgd, {"steps": 40, "loss": "margin"}),
        (apgd, {"iterations": 60, "early_stopping": False}),
        (cw_linf, {"steps": 20, "kappa": 1e9}),
    ],
)
def test_gradient_attacks_reach_the_worst_case_of_a_linear_model(
    linear: tuple[Logistic, Tensor, Tensor], norm: Any, attack: Any, parameters: dict[str, Any]
) -> None:
    model, x, y = linear
    x_adv = attack(model, x, y, ThreatModel(norm, EPS, None), streams(), **parameters)
    torch.testing.assert_close(cross_entropy(model(x_adv), y), worst_loss(model, x, y, norm, EPS), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("targeted", [True, False])
def test_fab_breaks_a_linear_model_exactly_when_the_boundary_is_within_eps(
    linear: tuple[Logistic, Tensor, Tensor], norm: Any, targeted: bool
) -> None:
    model, x, y = linear
    distance = model(x)[:, 1].abs() / model.weight.norm(p=1 if norm == "Linf" else 2)
    for factor, expected in ((1.01, True), (0.99, False)):
        threat = ThreatModel(norm, distance * factor, None)
        x_adv = fab(model, x, y, threat, streams(), each_class=targeted, iterations=30)
        assert (misclassified(predict(model, x_adv), y) == expected).all()
        threat.check(x_adv, x)
        if not expected:
            assert torch.equal(x_adv, x)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("attack", [square, simba])
def test_random_searches_break_a_linear_model_only_beyond_the_boundary(
    linear: tuple[Logistic, Tensor, Tensor], norm: Any, attack: Any
) -> None:
    model, x, y = linear
    distance = model(x)[:, 1].abs() / model.weight.norm(p=1 if norm == "Linf" else 2)
    parameters: dict[str, Any] = (
        {"queries": 300} if attack is square else {"rel_step_size": 1.0 if norm == "Linf" else 0.3}
    )
    inside = attack(model, x, y, ThreatModel(norm, distance * 0.99, None), streams(), **parameters)
    assert not misclassified(predict(model, inside), y).any()
    assert (cross_entropy(model(inside), y) > cross_entropy(model(x), y)).all()
    beyond = attack(
        model, x, y, ThreatModel(norm, distance * (1.05 if norm == "Linf" else 2.0), None), streams(), **parameters
    )
    assert misclassified(predict(model, beyond), y).float().mean() > (0.99 if norm == "Linf" else 0.8)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_fgsm_is_pgd_with_one_full_step_bitwise(norm: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.Tanh(), nn.Linear(20, 5))
    x, y = torch.rand(30, 3, 4, 4), torch.randint(5, (30,))
    threat = ThreatModel(norm, EPS)
    one_step = pgd(model, x, y, threat, streams(30), steps=1, rel_step_size=1.0, random_start=False)
    assert torch.equal(fgsm(model, x, y, threat, streams(30)), one_step)
    assert torch.equal(bim(model, x, y, threat, streams(30), steps=1, rel_step_size=1.0), one_step)
    inputs = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(inputs), y, reduction="sum"), inputs)
    unit = gradient.sign() if norm == "Linf" else gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(one_step, (x + EPS * unit).clamp(0, 1))


def test_targeted_attacks_descend_towards_their_class() -> None:
    torch.manual_seed(0)
    model = nn.Linear(20, 6).double()
    x, target = torch.rand(40, 20).double(), torch.randint(6, (40,))
    for attack, parameters in ((pgd, {"steps": 10}), (bim, {"steps": 10}), (fgsm, {}), (cw_linf, {"steps": 10})):
        x_adv = attack(model, x, target, ThreatModel("Linf", 0.2), streams(40), targeted=True, **parameters)
        before, after = cross_entropy(model(x), target), cross_entropy(model(x_adv), target)
        assert (after <= before + 1e-12).all()
        assert after.mean() < before.mean() - 0.05
        away = attack(model, x, target, ThreatModel("Linf", 0.2), streams(40), **parameters)
        assert cross_entropy(model(away), target).mean() > before.mean()
    stopped = pgd(model, x, target, ThreatModel("Linf", 0.6), streams(40), targeted=True, early_stopping=True, steps=30)
    reached = model(stopped).argmax(1) == target
    assert reached.float().mean() > 0.9


def test_cw_stops_just_beyond_the_boundary(linear: tuple[Logistic, Tensor, Tensor]) -> None:
    model, x, y = linear
    threat = ThreatModel("Linf", 1.0, None)
    step_gain = 2.0 / 20 * model.weight.abs().sum()
    for kappa in (0.0, 0.7):
        reached = margin(model(cw_linf(model, x, y, threat, streams(), steps=20, kappa=kappa)), y)
        gone = reached >= kappa
        assert gone.float().mean() > 0.9
        assert (reached[gone] <= kappa + step_gain + 1e-9).all()
        assert (reached <= kappa + step_gain + 1e-9).all()


def test_keep_best_never_returns_less_than_the_last_iterate() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 4))
    x, y = torch.rand(50, 10), torch.randint(4, (50,))
    threat = ThreatModel("Linf", 0.5)
    last, best = (
        pgd(model, x, y, threat, streams(50), steps=7, rel_step_size=0.9, keep_best=keep) for keep in (False, True)
    )
    gain = cross_entropy(model(best), y) - cross_entropy(model(last), y)
    assert (gain >= -1e-6).all()
    assert gain.max() > 1e-4


def test_noise_has_the_moments_it_claims() -> None:
    x = torch.zeros(400, 50)
    y = torch.zeros(400, dtype=torch.int64)
    model = nn.Identity()
    cube = random_noise(model, x, y, ThreatModel("Linf", 0.4, None), streams(400))
    assert cube.abs().max() <= 0.4
    assert cube.var().item() == pytest.approx(0.4**2 / 3, rel=0.03)
    radius = random_noise(model, x, y, ThreatModel("L2", 0.4, None), streams(400)).norm(dim=1)
    assert radius.max() <= 0.4 + 1e-6
    assert radius.mean().item() == pytest.approx(0.4 * 50 / 51, rel=0.01)
    white = gaussian_noise(model, x, y, ThreatModel("L2", math.inf, None), streams(400), variance=0.05)
    assert white.var().item() == pytest.approx(0.05, rel=0.03)
    assert white.mean().item() == pytest.approx(0.0, abs=0.01)
    clipped = gaussian_noise(model, x + 0.5, y, ThreatModel("Linf", math.inf), streams(400), variance=0.25)
    assert clipped.min() == 0 and clipped.max() == 1


def test_every_draw_of_a_sample_is_new_and_its_own() -> None:
    generator = streams(5)
    first, second = generator.uniform((100,)), generator.uniform((100,))
    assert not torch.equal(first, second)
    assert torch.equal(streams(5).select(torch.tensor([3])).uniform((100,))[0], first[3])
    forks = [streams(5).fork(stream).uniform((100,)) for stream in range(12)]
    assert len({tuple(fork[0].tolist()) for fork in forks}) == 12


@pytest.mark.parametrize(("norm", "oracle"), [("Linf", projection_linf), ("L2", projection_l2), ("L1", projection_l1)])
def test_projection_on_a_hyperplane_is_that_of_the_authors(norm: Any, oracle: Any) -> None:
    torch.manual_seed(0)
    point = torch.rand(200, 40).double()
    point[torch.rand(200, 40) < 0.3] = 0
    normal = torch.randn(200, 40).double()
    normal[torch.rand(200, 40) < 0.1] = 0
    level = torch.randn(200).double() * torch.logspace(-3, 1.2, 200)
    ours = project_on_hyperplane(point, normal, level, ThreatModel(norm, 1.0))
    reachable = (normal * ours).sum(1) - level
    # Where the box ends before the hyperplane, the authors' solution is not defined; ours is the nearest corner.
    inside = reachable.abs() < 1e-9
    assert 0.5 < inside.double().mean() < 1
    theirs = oracle(point, normal, level + (normal * point).sum(1))
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=1e-5, atol=1e-7)
    assert ((point + ours) > -1e-12).all() and ((point + ours) < 1 + 1e-12).all()
    corner = torch.where(normal * level[:, None] > 0, 1.0, 0.0) - point
    corner[normal == 0] = 0
    torch.testing.assert_close(ours[~inside], corner[~inside])


def test_dlr_losses_are_scale_free_and_positive_when_misclassified() -> None:
    torch.manual_seed(0)
    logits, y, target = torch.randn(100, 7), torch.randint(7, (100,)), torch.randint(7, (100,))
    torch.testing.assert_close(dlr(logits, y), dlr(3 * logits + 2, y))
    torch.testing.assert_close(dlr_targeted(logits, y, target), dlr_targeted(3 * logits + 2, y, target))
    assert ((dlr(logits, y) > 0) == misclassified(logits, y)).all()


def test_square_halves_its_windows_on_schedule() -> None:
    shares = [_window_share(query, 10_000, 0.8) for query in range(10_000)]
    assert shares[0] == 0.8 and shares[-1] == 0.8 / 512
    assert [shares[bound] / shares[bound + 1] for bound in SCHEDULE] == [2.0] * len(SCHEDULE)
    assert _window_share(2_500, 5_000, 0.8) == _window_share(5_000, 10_000, 0.8)
    for size in ((5, 5), (1, 9), (6, 6)):
        bump = one_bump(*size, torch.zeros(()), "L2")
        assert bump.norm().item() == pytest.approx(1.0)
        assert bump.min() < 0 < bump.max()
