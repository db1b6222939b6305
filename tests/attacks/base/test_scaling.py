"""Gradients of a confident net are tiny, and are used to their last digit; no constant beside a norm swallows them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks._momentum import scaled_to_unit_mean
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.losses import cross_entropy, dlr, dlr_targeted
from robustscape.attacks.base.scaling import magnitude, unit_l2
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.evaluation.harness.flags import gradient_faults, randomised, unreliable
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.loss_projections import LEAST_NORM
from robustscape.landscape import _ascent
from robustscape.models.logistic_regression import LogisticRegression
from robustscape.training.methods.gradalign import alignment

#: Powers of two, from numbers whose squares overflow to those that are subnormal.
POWERS = [125, 60, 0, -30, -60, -100, -120]
G = torch.tensor([[3.0, -4.0, 0.0], [0.75, 0.0, -1.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("power", POWERS)
def test_a_unit_vector_is_the_same_bit_for_bit_however_long_the_vector_was(power: int) -> None:
    expected = torch.tensor([[0.6, -0.8, 0.0], [0.6, 0.0, -0.8], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(unit_l2(G), expected)
    assert torch.equal(unit_l2(G * 2.0**power), unit_l2(G))
    assert torch.equal(ThreatModel("L2", 1.0).ascent(G * 2.0**power), unit_l2(G))
    assert torch.equal(scaled_to_unit_mean(G * 2.0**power), scaled_to_unit_mean(G))
    x = torch.full((3, 3), 0.5)
    ball = ThreatModel("L2", 0.2).around(x)
    assert torch.equal(ball.step(x, G * 2.0**power, 0.1), ball.step(x, G.clone(), 0.1))


def test_the_smallest_number_there_is_counts() -> None:
    least = torch.tensor([[0.0, -1e-45, 0.0]])
    assert torch.equal(unit_l2(least), torch.tensor([[0.0, -1.0, 0.0]]))
    assert torch.equal(magnitude(least), torch.tensor([[1e-45]]))
    huge = torch.tensor([[3e38, -3e38]])
    torch.testing.assert_close(unit_l2(huge), torch.tensor([[0.5**0.5, -(0.5**0.5)]]))


def test_what_is_not_finite_stays_so_and_is_refused() -> None:
    for value in (torch.nan, torch.inf):
        assert not unit_l2(torch.tensor([[1.0, value]])).isfinite().all()


def test_a_ball_of_any_size_is_projected_on() -> None:
    x = torch.zeros(1, 2, dtype=torch.float64)
    found = ThreatModel("L2", 1e-14, None).project(x + 1e-13 * torch.tensor([[0.6, 0.8]]), x)
    torch.testing.assert_close(found, 1e-14 * torch.tensor([[0.6, 0.8]], dtype=torch.float64), atol=0.0, rtol=1e-6)


def test_dlr_does_not_depend_on_the_scale_of_logits() -> None:
    z, y = torch.tensor([[3.0, 1.0, 0.5, 0.0], [1.0, 2.0, -1.0, 0.0]]), torch.tensor([0, 0])
    for power in (-60, -30, 30):
        assert torch.equal(dlr(z * 2.0**power, y), dlr(z, y))
        assert torch.equal(dlr_targeted(z * 2.0**power, y, y + 2), dlr_targeted(z, y, y + 2))
    tied = torch.ones(1, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(dlr(tied, torch.tensor([0])).sum(), tied)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("margin", [1.0, 10.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("loss", ["general", "logistic regression"])
def test_the_cross_entropy_of_a_confident_net_and_its_gradient(loss: str, margin: float) -> None:
    """As in double precision, in which the label's probability does not round to 1; both classes alike."""
    x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0])
    model = LogisticRegression(1, 1.0)
    model.linear.weight.data.fill_(margin)
    if loss == "general":
        _, losses, gradient = input_gradient(model, x, y, cross_entropy)
    else:
        _, losses, gradient = model.input_gradient(x, y)
    expected_loss = torch.full((2,), math.log1p(math.exp(-margin))).double()
    torch.testing.assert_close(losses.double(), expected_loss, rtol=2e-3, atol=0)
    slope = margin / (1 + math.exp(margin))
    torch.testing.assert_close(gradient.double(), torch.tensor([[-slope], [slope]]).double(), rtol=2e-3, atol=0)


def test_a_loss_that_does_not_saturate_keeps_its_bits() -> None:
    z = (3 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0))).requires_grad_()
    y = torch.arange(64) % 5
    z.data[0, 0] = 60
    usual = F.cross_entropy(z, y, reduction="none")
    assert torch.equal(cross_entropy(z, y)[1:], usual[1:]) and usual[0] == 0 < cross_entropy(z, y)[0]
    (expected,), (found,) = (torch.autograd.grad(loss.sum(), z) for loss in (usual, cross_entropy(z, y)))
    assert torch.equal(found[1:], expected[1:])
    assert found[0, 0] < 0 == expected[0, 0]


def test_the_cosine_of_two_tiny_gradients_is_their_cosine() -> None:
    def net(scale: float) -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        for parameter in layers[2].parameters():
            parameter.data *= scale
        return layers

    x, y = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    expected, found = (float(alignment(net(scale), x, 1 - x, y).detach()) for scale in (1e-3, 1e-30))
    assert abs(expected) > 0.01
    assert found == pytest.approx(expected, rel=1e-2)


def test_a_direction_of_weights_gets_its_length() -> None:
    tiny = {"a": torch.tensor([3e-30]), "b": torch.tensor([[4e-30]])}
    found = _ascent.scale_to(tiny, 10.0)
    torch.testing.assert_close(found, {"a": torch.tensor([6.0]), "b": torch.tensor([[8.0]])})
    assert not any(v.any() for v in _ascent.scale_to({"a": torch.zeros(2)}, 1.0).values())


def test_the_cosine_of_projections_has_no_floor_that_counts() -> None:
    a = torch.tensor([3e-12, 4e-12], dtype=torch.float64)
    assert float(F.cosine_similarity(a, a, dim=0, eps=LEAST_NORM)) == pytest.approx(1.0)
    assert float(F.cosine_similarity(a, 0 * a, dim=0, eps=LEAST_NORM)) == 0.0


def test_noise_in_tiny_logits_is_noise() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1e-14 * (x + torch.rand_like(x))

    assert randomised(Noisy(), torch.rand(4, 3))


# Attacks --------------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Logits (0, s, -s, -s) with s = margin * <w, x - 0.5> / 0.05; w has norm 1."""

    def __init__(self, margin: float, inputs: int = 16) -> None:
        super().__init__()
        self.margin = margin
        self.w = nn.Parameter(F.normalize(torch.randn(inputs, generator=torch.Generator().manual_seed(0)), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        s = self.margin / 0.05 * ((x - 0.5) @ self.w)
        return torch.stack([torch.zeros_like(s), s, -s.abs() - 9, -s.abs() - 9], 1)


def confident(margin: float) -> tuple[Linear, Tensor, Tensor]:
    """A net and 8 inputs of class 1, each 0.05 beyond the boundary, with logits that lead by ``margin``."""
    net = Linear(margin)
    noise = 0.05 * torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    w = net.w.detach()
    return net, 0.5 + noise - (noise @ w)[:, None] * w + 0.05 * w, torch.ones(8, dtype=torch.int64)


@pytest.mark.parametrize("margin", [10.0, 35.0, 70.0])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("pgd", {"steps": 20}),
        ("fgsm", {}),
        ("bim", {"steps": 5}),
        ("mi_fgsm", {"steps": 5}),
        ("ni_fgsm", {"steps": 5}),
        ("vmi_fgsm", {"steps": 5}),
        ("apgd", {"iterations": 10}),
    ],
)
def test_a_confident_net_is_broken_in_l2(name: str, parameters: dict[str, Any], margin: float) -> None:
    model, x, y = confident(margin)
    spec = AttackSpec.model_validate({"attack": name, "norm": "L2", "parameters": parameters})
    result = run_suite(model, x, y, Suite(name="one", attacks=((name, spec),)), 0.1, seed=0)
    assert result.clean_accuracy == 100.0
    assert result.robust_accuracy == 0.0
    assert not unreliable(result.flags), result.flags


@pytest.mark.parametrize("margin", [98.0, 110.0])
def test_a_gradient_that_underflows_is_flagged(margin: float) -> None:
    """At 98 it is subnormal, at 110 zero; the margin loss does not saturate."""
    model, x, y = confident(margin)
    vanishes, infinite = gradient_faults(model, x, y)
    assert (vanishes, infinite) == (100.0, 0.0)
    for attack, loss, expected in (("pgd", "cross_entropy", 100.0), ("pgd", "margin", 0.0), ("cw_linf", None, 0.0)):
        spec = AttackSpec(attack=attack, norm="Linf", parameters={"loss": loss} if loss else {})
        result = run_suite(model, x, y, Suite(name="one", attacks=(("one", spec),)), 1e-3, seed=0)
        assert result.flags["flag_zero_gradients"] == expected, attack
        assert unreliable(result.flags) == (expected > 0)


def test_the_generator_never_draws_a_direction_of_no_length() -> None:
    x = torch.zeros(64, 1)
    for norm in ("Linf", "L2", "L1"):
        drawn = ThreatModel(norm, 1.0, None).random_direction(x, SampleGenerator.seeded(0, 64))
        torch.testing.assert_close(drawn.abs(), torch.ones_like(x))
