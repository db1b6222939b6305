"""The adversarial-training methods of kim2023 chapters 2 and 3: textbook forms, limits, invariants, passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods.adversarial import adversarial
from robustscape.training.methods.bat import bat, bat_loss, interpolate
from robustscape.training.methods.gradalign import alignment, gradalign
from robustscape.training.methods.mart import mart, mart_loss
from robustscape.training.methods.single_step_checkpoints import single_step_checkpoints
from robustscape.training.methods.trades import trades

EPS = 0.2


def make_model(norm: bool = False, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)] if norm else [nn.Conv2d(1, 8, 3)]
    size = 8 * (36 if norm else 16)
    return nn.Sequential(*layers, nn.Softplus(), nn.Flatten(), nn.Linear(size, 4)).to(dtype)


def batch(size: int = 24, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(size, 1, 6, 6, generator=draw).to(dtype), torch.randint(4, (size,), generator=draw)


def make_attack(size: int = 24, eps: float = EPS, attack: str = "fgsm", **parameters: Any) -> TrainingAttack:
    generator = SampleGenerator.seeded(5, size)
    return TrainingAttack(catalog.load_function("attack", attack), parameters, ThreatModel("Linf", eps), generator)


FAST: dict[str, Any] = {"random_start": True, "rel_step_size": 1.25}


def gradients(model: nn.Module, closure: Callable[[], Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(closure(), list(model.parameters())))


def same_step(model: nn.Module, first: Callable[[], Tensor], second: Callable[[], Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(gradients(model, first), gradients(model, second), strict=True))


@pytest.mark.parametrize("name", ["single_step_checkpoints", "mart", "gradalign", "bat"])
def test_the_catalog_finds_every_method(name: str) -> None:
    assert catalog.find_entry("method", name).summary


# -- attacks of the single-step methods --------------------------------------------------------------------------------


def test_fast_at_is_the_textbook_one() -> None:
    """FGSM with random start and a step of 1.25 eps, both clamps: as in Wong et al.'s code, with the same eta."""
    model, (x, y) = make_model(), batch()
    ours = make_attack(**FAST)(model, x, y)
    eta = (SampleGenerator.seeded(5, len(x)).uniform(x.shape[1:]) * 2 - 1) * EPS
    delta = ((x + eta).clamp(0, 1) - x).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x + delta), y), delta)
    delta = (delta.detach() + 1.25 * EPS * gradient.sign()).clamp(-EPS, EPS)
    torch.testing.assert_close(ours, (x + delta).clamp(0, 1), rtol=0, atol=1e-6)
    assert (ours - x).abs().max() <= EPS + 1e-6


def test_one_full_step_of_pgd_from_the_input_is_fgsm_training() -> None:
    model, (x, y) = make_model(), batch()
    one = make_attack(attack="pgd", steps=1, rel_step_size=1.0, random_start=False)
    assert same_step(model, adversarial(model, x, y, one), adversarial(model, x, y, make_attack()))


# -- checkpoints -------------------------------------------------------------------------------------------------------


class Predictor(nn.Module):
    """Predicts a class by a rule of the input, and has a gradient to ascend."""

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rule, self.weight = rule, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return 5 * F.one_hot(self.rule(x.detach()), 2).float() + self.weight * 1e-3 * x.flatten(1).sum(1, True)[
            :, [0, 0]
        ] * torch.tensor([1.0, -1.0])


def chosen(model: nn.Module, x: Tensor, y: Tensor, **parameters: Any) -> tuple[Tensor, Tensor]:
    """The points trained on, seen by the model's own forward, and delta's full length point."""
    seen: list[Tensor] = []
    closure = single_step_checkpoints(model, x, y, make_attack(len(x)), **parameters)
    handle = model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    closure()
    handle.remove()
    return seen[0], make_attack(len(x), **FAST)(model, x, y)


def test_one_checkpoint_is_fast_at_on_what_is_right_at_the_start() -> None:
    model, (x, y) = make_model(), batch()
    y = torch.where(torch.arange(len(y)) % 2 == 0, model(x).argmax(1), y)  # some right, some wrong
    points, full = chosen(model, x, y, checkpoints=1)
    start = make_attack(len(x)).threat.random_point(x, SampleGenerator.seeded(5, len(x)))
    right = model(start).argmax(1) == y
    assert 0 < right.sum() < len(y)
    assert torch.equal(points[right], full[right])
    assert torch.equal(points[~right], x[~right])


@pytest.mark.parametrize("checkpoints", [1, 2, 3, 4])
def test_the_chosen_point_is_the_first_wrong_checkpoint(checkpoints: int) -> None:
    """Against algorithm 1 written out, sample by sample."""
    torch.manual_seed(3)
    model, (x, y) = make_model(), batch(64)
    y = model(x).argmax(1)
    nn.init.normal_(model[-1].weight, std=2.0)  # many decision boundaries within eps
    points, full = chosen(model, x, y, checkpoints=checkpoints)
    start = make_attack(len(x)).threat.random_point(x, SampleGenerator.seeded(5, len(x)))
    found = set()
    for i in range(len(x)):
        wrong = [bool(model(start[i : i + 1]).argmax(1) != y[i])]
        wrong += [
            bool(model(torch.lerp(x, full, j / checkpoints)[i : i + 1]).argmax(1) != y[i])
            for j in range(1, checkpoints)
        ]
        first = wrong.index(True) if any(wrong) else checkpoints
        found.add(first)
        torch.testing.assert_close(points[i], x[i] + first / checkpoints * (full[i] - x[i]), rtol=0, atol=1e-6)
    assert found == set(range(checkpoints + 1)) or (checkpoints == 4 and len(found) >= 4)
    assert (points - x).abs().max() <= EPS + 1e-6 and points.min() >= 0 and points.max() <= 1


def test_a_model_that_is_always_wrong_trains_on_clean_inputs_and_one_that_is_right_on_the_whole_step() -> None:
    x, y = batch(8)[0], torch.zeros(8, dtype=torch.int64)
    ones = Predictor(lambda x: torch.ones(len(x), dtype=torch.int64))
    assert torch.equal(chosen(ones, x, y, checkpoints=3)[0], x)
    zeros = Predictor(lambda x: torch.zeros(len(x), dtype=torch.int64))
    points, full = chosen(zeros, x, y, checkpoints=3)
    assert torch.equal(points, full) and not torch.equal(points, x)


def test_what_is_logged_is_what_was_done() -> None:
    x, y = batch(8)[0], torch.zeros(8, dtype=torch.int64)
    wrong = single_step_checkpoints(Predictor(lambda x: torch.ones(len(x), dtype=torch.int64)), x, y, make_attack(8))
    assert {name: value.item() for name, value in wrong.logged.items()} == {"mean_perturbation": 0, "mean_step": 0}
    right = Predictor(lambda x: torch.zeros(len(x), dtype=torch.int64))
    logged = single_step_checkpoints(right, x, y, make_attack(8)).logged
    assert logged["mean_step"] == 1 and EPS * 0.9 < logged["mean_perturbation"] <= EPS + 1e-6


def test_without_eps_the_checkpoint_method_is_standard_training() -> None:
    model, (x, y) = make_model(), batch()
    closure = single_step_checkpoints(model, x, y, make_attack(eps=0.0))
    assert same_step(model, closure, lambda: F.cross_entropy(model(x), y))


@pytest.mark.parametrize("checkpoints", [1, 3])
def test_passes_of_the_checkpoint_method(checkpoints: int) -> None:
    """c forward and 1 input-backward passes before the update: none of them is a weight gradient."""
    x, y = batch(8)
    model = SearchModel(make_model())
    single_step_checkpoints(model, x, y, make_attack(8), checkpoints=checkpoints)
    assert (model.forwards, model.backwards) == (8 * checkpoints, 8)
    assert all(p.grad is None for p in model.parameters()) and model.training


# -- MART --------------------------------------------------------------------------------------------------------------


def test_mart_is_the_authors_loss() -> None:
    """Written as in the authors' code, without its guards against log 0."""
    torch.manual_seed(0)
    clean, attacked = (torch.randn(12, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    y = torch.randint(5, (12,))
    q, p = attacked.softmax(1), clean.softmax(1)
    top = q.argsort(dim=1)[:, -2:]
    other = torch.where(top[:, -1] == y, top[:, -2], top[:, -1])
    adversarial_part = F.cross_entropy(attacked, y) + F.nll_loss(torch.log(1 - q), other)
    true = p.gather(1, y[:, None]).squeeze(1)
    theirs = adversarial_part + 5.0 * (F.kl_div(q.log(), p, reduction="none").sum(1) * (1 - true)).mean()
    ours = mart_loss(clean, attacked, y, 5.0)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, [clean, attacked]), torch.autograd.grad(theirs, [clean, attacked]), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_mart_is_finite_where_a_probability_is_one() -> None:
    logits = torch.tensor([[200.0, 0, 0], [0, 200.0, 0]], requires_grad=True)
    loss = mart_loss(logits, logits, torch.tensor([0, 0]), 5.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all() and loss > 100


def test_mart_attacks_once_and_uses_both_inputs() -> None:
    model, (x, y) = make_model(), batch()
    pgd = {"attack": "pgd", "steps": 3, "random_start": False}
    x_adv = make_attack(**pgd)(model, x, y)
    closure = mart(model, x, y, make_attack(**pgd), beta=2.0)
    torch.testing.assert_close(closure(), mart_loss(model(x), model(x_adv), y, 2.0))


# -- GradAlign ---------------------------------------------------------------------------------------------------------


def test_alignment_is_the_mean_cosine_and_leaves_zero_gradients_out() -> None:
    model, (x, y) = make_model(dtype=torch.float64), batch(6, torch.float64)
    other = (x + 0.1 * torch.randn(x.shape, dtype=torch.float64)).clamp(0, 1)

    def gradient(point: Tensor) -> Tensor:
        point = point.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)[0].flatten(1)

    expected = F.cosine_similarity(gradient(x), gradient(other)).mean()
    torch.testing.assert_close(alignment(model, x, other, y), expected)
    assert alignment(model, x, x, y).item() == pytest.approx(1.0)

    dead = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 4)).double()
    with torch.no_grad():
        dead[1].weight.zero_()
        dead[1].weight[0, 0] = 1.0
    x[:, 0, 0, 0] = torch.tensor([-1.0, -1.0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
    with torch.no_grad():
        dead[1].bias.zero_()
    value = alignment(dead, x, x, y)
    gradients_of = torch.autograd.grad(value, list(dead.parameters()), allow_unused=True)
    assert value.item() == pytest.approx(1.0), "two of six have no gradient and do not count"
    assert all(torch.isfinite(g).all() for g in gradients_of if g is not None)


def test_gradaligns_gradient_is_that_of_finite_differences() -> None:
    """The regulariser is differentiated through both input gradients."""
    model, (x, y) = make_model(dtype=torch.float64), batch(6, torch.float64)
    closure = gradalign(model, x, y, make_attack(6), beta=3.0)
    ours = gradients(model, closure)
    torch.manual_seed(0)
    for parameter, gradient in zip(model.parameters(), ours, strict=True):
        direction = torch.randn_like(parameter)
        step = 1e-5
        with torch.no_grad():
            parameter.add_(step * direction)
        high = closure().item()
        with torch.no_grad():
            parameter.sub_(2 * step * direction)
        low = closure().item()
        with torch.no_grad():
            parameter.add_(step * direction)
        assert (gradient * direction).sum().item() == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-9)


def test_gradalign_with_beta_0_is_fgsm_training_and_with_beta_it_is_not() -> None:
    model, (x, y) = make_model(), batch()
    fgsm = adversarial(model, x, y, make_attack())
    for beta, equal in ((0.0, True), (0.2, False)):
        found = gradients(model, gradalign(model, x, y, make_attack(), beta=beta))
        close = [torch.allclose(a, b) for a, b in zip(found, gradients(model, fgsm), strict=True)]
        assert all(close) is equal


# -- BAT ---------------------------------------------------------------------------------------------------------------


def test_bat_with_one_bridge_has_the_loss_of_trades() -> None:
    """At the same x*: KL(y || p(x)) + beta KL(p(x) || p(x*))."""
    model, (x, y) = make_model(), batch()
    pgd = {"attack": "pgd", "steps": 3}
    x_adv = make_attack(**pgd)(model, x, y)
    closure = bat(model, x, y, make_attack(**pgd), beta=5.0, bridges=1)

    def trades() -> Tensor:
        clean, attacked = model(x), model(x_adv)
        divergence = F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, y) + 5.0 * divergence

    torch.testing.assert_close(closure(), trades())
    for a, b in zip(gradients(model, closure), gradients(model, trades), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bridges", [1, 2, 3, 5])
def test_bat_sums_the_segments_of_a_straight_path(bridges: int) -> None:
    torch.manual_seed(0)
    x, x_adv, y = torch.rand(4, 1, 6, 6), torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 3])
    points = interpolate(x, x_adv, bridges).unflatten(0, (bridges + 1, -1))
    assert torch.equal(points[0], x) and torch.equal(points[-1], x_adv)
    steps = points.diff(dim=0)
    torch.testing.assert_close(steps, ((x_adv - x) / bridges).expand_as(steps))
    logits = torch.randn(bridges + 1, 4, 4)
    p = logits.softmax(2)
    by_hand = F.cross_entropy(logits[0], y)
    for k in range(bridges):
        by_hand = by_hand + 2.0 * (p[k] * (p[k] / p[k + 1]).log()).sum(1).mean()
    torch.testing.assert_close(bat_loss(logits, y, 2.0), by_hand)


def test_bat_without_beta_or_eps_is_standard_training_up_to_rounding() -> None:
    model, (x, y) = make_model(), batch()
    standard = gradients(model, lambda: F.cross_entropy(model(x), y))
    for closure in (
        bat(model, x, y, make_attack(attack="pgd"), beta=0.0),
        bat(model, x, y, make_attack(eps=0.0), beta=5.0),
    ):
        for a, b in zip(gradients(model, closure), standard, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_bat_of_one_bridge_is_trades_with_the_same_attack() -> None:
    """Batch statistics included: a method that differs in them would be compared by them."""
    losses, statistics = [], []
    for method, parameters in ((bat, {"beta": 5.0, "bridges": 1}), (trades, {"beta": 5.0})):
        model, (x, y) = make_model(norm=True).train(), batch()
        losses.append(method(model, x, y, make_attack(attack="pgd"), **parameters)())
        statistics.append(model.state_dict())
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(statistics[0], statistics[1])


def test_no_probability_of_bat_is_held_constant() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    bat_loss(logits, torch.zeros(4, dtype=torch.int64), 1.0).backward()
    assert (logits.grad.flatten(1).norm(dim=1) > 1e-3).all()


# -- all ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [single_step_checkpoints, mart, gradalign, bat])
def test_the_attack_leaves_the_net_as_it_was_and_the_closure_can_be_called_twice(method: Any) -> None:
    model, (x, y) = make_model(norm=True), batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    closure = method(model, x, y, make_attack())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert torch.equal(closure(), closure())
    assert all(torch.isfinite(g).all() for g in gradients(model, closure))
