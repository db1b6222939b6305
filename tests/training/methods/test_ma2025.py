"""SOAR, FOAR and MMA of ma2025 chapter 3: against the full Hessian, finite differences and closed forms; passes; batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog, devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import ConfigError
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import LoggedObjective
from robustscape.training.methods import mma as mma_file
from robustscape.training.methods._start import start_point
from robustscape.training.methods.foar import dual_norm, foar
from robustscape.training.methods.mma import mma, soft_margin, zero_along
from robustscape.training.methods.soar import (
    SoarObjective,
    augmented_products,
    bound_factor,
    loss_and_regulariser,
    scaled_clip,
    scaled_h,
    soar,
)

EPS, SIZE = 0.2, 12


def make_model(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIZE, 9), nn.Softplus(), nn.Linear(9, 7), nn.Softplus(), nn.Linear(7, 4)
    ).to(dtype)


def batch(size: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(size, 1, 3, 4, generator=draw).to(dtype), torch.randint(4, (size,), generator=draw)


def directions(size: int = 6, draws: int = 1) -> Tensor:
    return torch.randn(draws, size, SIZE + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def make_attack(size: int = 6, eps: float = EPS, norm: Any = "Linf") -> TrainingAttack:
    return TrainingAttack(None, {}, ThreatModel(norm, eps), SampleGenerator.seeded(5, size))


def augmented_hessians(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[[Hess, g], [g^T, 1]] of each sample (B, d + 1, d + 1), by autograd alone."""
    found = []
    for i in range(len(x)):

        def loss(flat: Tensor, i: int = i) -> Tensor:
            return F.cross_entropy(model(flat.view(1, 1, 3, 4)), y[i : i + 1])

        flat = x[i].flatten()
        gradient = torch.autograd.functional.jacobian(loss, flat)
        hessian = torch.autograd.functional.hessian(loss, flat)
        whole = torch.ones(SIZE + 1, SIZE + 1, dtype=x.dtype)
        whole[:SIZE, :SIZE], whole[:SIZE, SIZE], whole[SIZE, :SIZE] = hessian, gradient, gradient
        found.append(whole)
    return torch.stack(found)


def gradient_of(model: nn.Module, loss: Tensor) -> Tensor:
    parts = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return torch.cat([p.flatten() for p in parts if p is not None])


@pytest.mark.parametrize("name", ["soar", "foar", "mma"])
def test_the_catalog_finds_every_method(name: str) -> None:
    assert catalog.find_entry("method", name).summary


# -- SOAR: the regulariser -------------------------------------------------------------------------------------------------


def test_the_augmented_hessian_is_the_second_order_expansion() -> None:
    """Equation 3.6: l + g delta + delta Hess delta / 2 = l + [delta; 1] H [delta; 1] / 2 - 1/2."""
    model, (x, y) = make_model(), batch()
    whole = augmented_hessians(model, x, y)
    delta = 0.3 * torch.randn(len(x), SIZE, dtype=torch.float64)
    with_one = torch.cat([delta, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    ours = torch.einsum("bi,bij,bj->b", with_one, whole, with_one) / 2 - 0.5
    g, hessian = whole[:, :SIZE, SIZE], whole[:, :SIZE, :SIZE]
    expansion = (g * delta).sum(1) + torch.einsum("bi,bij,bj->b", delta, hessian, delta) / 2
    torch.testing.assert_close(ours, expansion)


def test_exact_products_are_those_of_the_full_hessian() -> None:
    model, (x, y), z = make_model(), batch(), directions(draws=3)
    whole = augmented_hessians(model, x, y)
    losses, products = augmented_products(model, x, y, z, None)
    torch.testing.assert_close(losses, F.cross_entropy(model(x), y, reduction="none"))
    for direction, product in zip(z, products, strict=True):
        torch.testing.assert_close(product, torch.einsum("bij,bj->bi", whole, direction), rtol=1e-8, atol=1e-10)


def test_the_error_of_the_finite_difference_is_linear_in_h() -> None:
    model, (x, y), z = make_model(), batch(), directions()
    exact = next(augmented_products(model, x, y, z, None)[1])
    errors = [(next(augmented_products(model, x, y, z, h)[1]) - exact).norm().item() for h in (1e-2, 5e-3, 2.5e-3)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02) and errors[1] / errors[2] == pytest.approx(2, rel=0.02)
    close = next(augmented_products(model, x, y, z, 1e-6)[1])
    torch.testing.assert_close(close, exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("h", [None, 1e-6])
def test_the_regulariser_is_that_of_the_full_hessian(h: float | None) -> None:
    model, (x, y), z = make_model(), batch(), directions(draws=3)
    norms = torch.einsum("bij,nbj->nbi", augmented_hessians(model, x, y), z).norm(dim=2)
    kappa = (SIZE * 0.1**2 + 1) / 2
    assert bound_factor(SIZE, ThreatModel("Linf", 0.1)) == pytest.approx(kappa)
    for bound, expected in (("printed", norms.mean(0)), ("frobenius", norms.square().mean(0).sqrt())):
        losses, r = loss_and_regulariser(model, x, y, z, kappa, h=h, bound=bound)  # type: ignore[arg-type]
        torch.testing.assert_close(r, kappa * expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(losses, F.cross_entropy(model(x), y, reduction="none"))


def test_the_mean_square_norm_is_the_frobenius_norm_and_the_mean_norm_lies_below() -> None:
    """N4: E ||Hz||^2 = ||H||_F^2, and sqrt(2/pi) ||H||_F <= E ||Hz|| <= ||H||_F."""
    model, (x, y) = make_model(), batch(1)
    z = torch.randn(200_000, SIZE + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (whole,) = augmented_hessians(model, x, y)
    norms = (z @ whole).norm(dim=1)
    assert norms.square().mean().item() == pytest.approx(whole.square().sum().item(), rel=0.01)
    share = (norms.mean() / whole.norm()).item()
    assert math.sqrt(2 / math.pi) - 0.003 <= share <= 1  # 0.003: two standard errors of the draws
    rank_one = torch.outer(whole[0], whole[0])
    assert ((z @ rank_one).norm(dim=1).mean() / rank_one.norm()).item() == pytest.approx(
        math.sqrt(2 / math.pi), rel=0.01
    )


def test_without_a_gradient_the_regulariser_is_the_last_direction() -> None:
    """N10: grad = 0 leaves H with a single 1, so R = kappa |z_1|."""
    model, (x, y), z = make_model(), batch(), directions()
    for p in model[1].parameters():
        nn.init.zeros_(p)
    _, r = loss_and_regulariser(model, x, y, z, 2.0)
    torch.testing.assert_close(r, 2.0 * z[0, :, -1].abs())


@pytest.mark.parametrize("product", ["difference", "exact"])
def test_the_gradient_of_soar_is_that_of_finite_differences(product: Any) -> None:
    """N11: the double backward, through both input gradients; no sample is clipped."""
    model, (x, y) = make_model(), batch()
    objective = soar(model, x, y, make_attack(), product=product, clip="none")
    ours = gradient_of(model, objective())
    worst, sizes = 0.0, []
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    for seed in range(4):
        direction = torch.randn(len(start), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        values = []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(start + sign * 1e-5 * direction, model.parameters())
            values.append(objective().item())
        nn.utils.vector_to_parameters(start, model.parameters())
        difference, slope = (values[0] - values[1]) / 2e-5, (ours @ direction).item()
        worst, sizes = max(worst, abs(difference - slope)), [*sizes, abs(slope)]
    assert worst < 1e-5 * max(sizes)


def test_a_samples_loss_does_not_depend_on_its_batch() -> None:
    """N12, and the batch's loss is the mean: with gradients of a mean loss R would shrink as the batch grows."""
    model, (x, y), z = make_model(), batch(8), directions(8)
    _, together = loss_and_regulariser(model, x, y, z, 1.0)
    alone = torch.cat([loss_and_regulariser(model, x[[i]], y[[i]], z[:, [i]], 1.0)[1] for i in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0)
    twice = loss_and_regulariser(model, torch.cat([x, x]), torch.cat([y, y]), torch.cat([z, z], 1), 1.0)[1]
    torch.testing.assert_close(twice, torch.cat([together, together]), rtol=1e-10, atol=0)

    original = F.cross_entropy

    def with_mean_losses(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        found = original(logits, labels, reduction="none")
        return found / len(labels) if reduction == "none" else found.mean()

    with pytest.MonkeyPatch.context() as patch:  # the common mistake is seen by this test
        patch.setattr("robustscape.training.methods.soar.F.cross_entropy", with_mean_losses)
        assert not torch.allclose(loss_and_regulariser(model, x, y, z, 1.0)[1], alone, rtol=1e-2)


def test_the_batch_loss_is_the_mean_of_the_samples_losses() -> None:
    model, (x, y) = make_model(), batch()
    objective = soar(model, x, y, make_attack())
    torch.testing.assert_close(objective(), objective.per_sample().mean())
    torch.testing.assert_close(objective.per_sample(torch.tensor([4, 1])), objective.per_sample()[[4, 1]])
    clean = foar(model, x, y, make_attack())
    torch.testing.assert_close(clean(), clean.per_sample().mean())


# -- SOAR: starts, radii, clip ---------------------------------------------------------------------------------------------


def test_starts_and_the_radius_that_is_left() -> None:
    model, (x, y) = make_model(), batch()
    point, ball = start_point(model, x, y, make_attack(), "zero")
    assert torch.equal(point, x) and ball.eps == EPS
    point, ball = start_point(model, x, y, make_attack(), "random")
    assert ball.eps == EPS and EPS / 2 < (point - x).abs().max() <= EPS
    point, ball = start_point(model, x, y, make_attack(), "pgd1")
    assert ball.eps == EPS / 2 and (point - x).abs().max() <= EPS / 2 + 1e-9
    assert point.min() >= 0 and point.max() <= 1 and not point.requires_grad
    start = replace(make_attack().threat, eps=EPS / 2).random_point(x, SampleGenerator.seeded(5, len(x)))
    leaf = start.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)
    by_hand = torch.minimum(torch.maximum(start + EPS / 2 * g.sign(), x - EPS / 2), x + EPS / 2).clamp(0, 1)
    torch.testing.assert_close(point, by_hand)
    assert all(p.requires_grad and p.grad is None for p in model.parameters()) and model.training


@pytest.mark.parametrize(("init", "radius"), [("zero", EPS), ("random", EPS), ("pgd1", EPS / 2)])
def test_the_regulariser_has_the_radius_of_its_start(init: Any, radius: float) -> None:
    model, (x, y) = make_model(), batch()
    objective = soar(model, x, y, make_attack(), init=init)
    assert objective.factor == pytest.approx((SIZE * radius**2 + 1) / 2)
    assert objective.z.shape == (1, 6, SIZE + 1) and objective.h == 0.01


def test_in_l2_the_radius_takes_the_place_of_d_eps_squared() -> None:
    model, (x, y) = make_model(), batch()
    objective = soar(model, x, y, make_attack(norm="L2"))
    assert objective.factor == pytest.approx(((EPS / 2) ** 2 + 1) / 2)
    assert (objective.x - x).flatten(1).norm(dim=1).max() <= EPS / 2 + 1e-6


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_finite_difference_is_refused_where_it_would_be_rounded_away(precision: Any) -> None:
    x, y = batch(dtype=torch.float32)
    model = make_model(torch.float32)
    with devices.exact_fp32(), devices.arithmetic(x.device, precision):
        soar(model, x, y, make_attack(), init="zero", product="exact")
        with pytest.raises(ConfigError, match="precision: fp32"):
            soar(model, x, y, make_attack(), init="zero")


def test_directions_are_standard_normal_one_set_for_each_draw() -> None:
    model, (x, y) = make_model(torch.float32), batch(2000, torch.float32)
    z = soar(model, x, y, make_attack(2000), draws=2).z
    assert z.shape == (2, 2000, SIZE + 1) and not torch.equal(z[0], z[1])
    assert z.mean().item() == pytest.approx(0, abs=0.02) and z.std().item() == pytest.approx(1, abs=0.02)


def test_scaled_rules_are_the_works_numbers_on_cifar10() -> None:
    assert scaled_clip(3072, ThreatModel("Linf", 8 / 255)) == pytest.approx(10, abs=1e-12) and scaled_h(3072) == 0.01
    assert scaled_clip(784, ThreatModel("Linf", 0.3)) == pytest.approx(11.39 * (784 * 0.15**2 + 1) / 2, rel=1e-4)
    model, (x, y) = make_model(), batch()
    objective = soar(model, x, y, make_attack(), h="scaled", clip="scaled")
    assert objective.h == pytest.approx(0.01 * math.sqrt(SIZE / 3072))
    assert objective.clip == pytest.approx(scaled_clip(SIZE, make_attack().threat))
    assert soar(model, x, y, make_attack(), product="exact", clip="none").h is None
    assert soar(model, x, y, make_attack(), clip="none").clip is None


def test_a_clipped_sample_has_no_gradient_or_a_rescaled_one() -> None:
    model, (x, y) = make_model(), batch()
    free: SoarObjective = soar(model, x, y, make_attack(), clip="none")
    _, r = loss_and_regulariser(model, free.x, y, free.z, free.factor)
    cut = r.detach().median().item()
    above = r.detach() > cut
    assert 0 < above.sum() < len(x)
    losses = F.cross_entropy(model(free.x), y, reduction="none")
    by_value = replace(free, clip=cut, logged={})
    torch.testing.assert_close(by_value.per_sample(), losses + r.clamp(max=cut))
    expected = gradient_of(model, (losses + torch.where(above, 0, r)).mean())
    torch.testing.assert_close(gradient_of(model, by_value()), expected)
    assert isinstance(by_value, LoggedObjective)
    assert by_value.logged["clipped_share"].item() == pytest.approx(above.double().mean().item())
    assert by_value.logged["regulariser"].item() == pytest.approx(r.clamp(max=cut).mean().item())
    scaled = replace(free, clip=cut, clip_mode="rescale", logged={})
    torch.testing.assert_close(scaled.per_sample(), losses + r.clamp(max=cut))
    _, r = loss_and_regulariser(model, free.x, y, free.z, free.factor)
    kept = r * torch.where(above, cut / r.detach(), 1.0)
    losses = F.cross_entropy(model(free.x), y, reduction="none")
    torch.testing.assert_close(gradient_of(model, scaled()), gradient_of(model, (losses + kept).mean()))


# -- FOAR ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_foar_is_the_maximum_of_the_first_order_expansion(norm: Any) -> None:
    model, (x, y) = make_model(), batch()
    found = foar(model, x, y, make_attack(norm=norm), init="zero").per_sample()
    leaf = x.clone().requires_grad_()
    losses = F.cross_entropy(model(leaf), y, reduction="none")
    (g,) = torch.autograd.grad(losses.sum(), leaf)
    best = EPS * g.sign() if norm == "Linf" else EPS * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, losses + (g * best).flatten(1).sum(1))
    for seed in range(20):  # no other perturbation of the ball does more
        other = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
        other = EPS * other.sign() if norm == "Linf" else EPS * other / other.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert ((g * other).flatten(1).sum(1) <= dual_norm(EPS * g, norm) + 1e-12).all()


def test_the_gradient_of_foar_is_that_of_finite_differences() -> None:
    model, (x, y) = make_model(), batch()
    objective = foar(model, x, y, make_attack())
    ours = gradient_of(model, objective())
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    direction = torch.randn(len(start), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * 1e-6 * direction, model.parameters())
        values.append(objective().item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx((ours @ direction).item(), rel=1e-5)


def test_foar_does_not_depend_on_the_batch_and_logs_its_regulariser() -> None:
    model, (x, y) = make_model(), batch(8)
    objective = foar(model, x, y, make_attack(8), init="zero")
    alone = torch.cat([foar(model, x[[i]], y[[i]], make_attack(1), init="zero").per_sample() for i in range(8)])
    torch.testing.assert_close(objective.per_sample(), alone)
    clean = F.cross_entropy(model(x), y)
    torch.testing.assert_close(objective() - clean, objective.logged["regulariser"])


# -- passes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "parameters", "forwards", "backwards"),
    [
        ("soar", {"init": "pgd1"}, 3, 4),
        ("soar", {"init": "zero"}, 2, 3),
        ("soar", {"init": "zero", "product": "exact"}, 1, 3),
        ("foar", {"init": "zero"}, 1, 2),
        ("foar", {"init": "pgd1"}, 2, 3),
        ("standard", {}, 1, 1),
    ],
)
def test_passes_of_table_3_5(method: str, parameters: dict[str, Any], forwards: int, backwards: int) -> None:
    """A backward pass is a call of autograd: the one of the parameters runs through all graphs at once."""
    model, (x, y) = make_model(), batch()
    passes = {"forward": 0}
    calls: set[int] = set()
    grad, backward = torch.autograd.grad, Tensor.backward

    def count(*_: Any) -> None:
        passes["forward"] += 1

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            calls.add(len(calls))
            return call(*arguments, **keywords)

        return wrapped

    handle = model.register_forward_hook(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", counted(grad))
        patch.setattr(Tensor, "backward", counted(backward))
        catalog.load_function("method", method)(model, x, y, make_attack(), **parameters)().backward()
    handle.remove()
    assert (passes["forward"], len(calls)) == (forwards, backwards)


# -- MMA -------------------------------------------------------------------------------------------------------------------


class Linear2(nn.Module):
    """Two logits, 0 and w x: the soft margin is the margin, and its zero along any direction is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(z), z], 1)


def test_the_soft_margin_bounds_the_margin() -> None:
    logits, y = torch.randn(50, 5), torch.arange(50) % 5
    hard = logits.scatter(1, y[:, None], -torch.inf).amax(1) - logits.gather(1, y[:, None]).squeeze(1)
    assert (soft_margin(logits, y) >= hard).all() and (soft_margin(logits, y) <= hard + math.log(4) + 1e-6).all()


def test_bisection_finds_the_boundary_or_the_largest_radius() -> None:
    x, y = torch.tensor([[0.6, 0.4, 0.5], [0.9, 0.0, 0.9]]), torch.tensor([1, 1])
    model, ball = Linear2(), ThreatModel("Linf", 0.1)
    direction = -model.weight.detach().sign().expand(2, 3)
    margins = (x @ model.weight.detach()) / 2.5  # |w|_1 = 2.5
    found = zero_along(model, x, y, ball, direction, torch.full((2,), 0.01), 0.3, 20)
    assert found[0].item() == pytest.approx(margins[0].item(), abs=1e-5)
    assert margins[1] > 0.3 and found[1].item() == pytest.approx(0.3, abs=1e-5)


def test_mma_is_its_formula_on_a_linear_net() -> None:
    """The nearest point of another class is known: e u = -(w x / |w|_1) sign(w); one sample is wrong, one beyond d_max."""
    x = torch.tensor([[0.6, 0.4, 0.5], [0.9, 0.0, 0.9], [0.5, 0.45, 0.3], [0.2, 0.7, 0.3]]).view(4, 1, 1, 3)
    y = torch.tensor([1, 1, 1, 1])
    model = Linear2()
    w = model.weight.detach()
    radius = (x.flatten(1) @ w) / 2.5
    eps, share = 0.1, 2.0
    assert (radius < 0).tolist() == [False, False, False, True] and (radius < eps * share).tolist() == [
        True,
        False,
        True,
        True,
    ]
    objective = mma(model, x, y, make_attack(4, eps), rel_margin=share, rel_start=0.3, bisections=25)
    points = x - radius.view(-1, 1, 1, 1) * w.sign().view(1, 1, 1, 3)
    losses = F.cross_entropy(model(x), y, reduction="none")
    at_boundary = F.cross_entropy(model(points), y, reduction="none")
    expected = (at_boundary[0] + at_boundary[2] + losses[3]) / 4 * 2 / 3 + losses.mean() / 3
    torch.testing.assert_close(objective(), expected, rtol=1e-4, atol=1e-5)
    assert at_boundary[0].item() == pytest.approx(math.log(2), abs=1e-4)


def test_mma_without_eps_and_with_nothing_right_trains_on_clean_inputs() -> None:
    model, (x, y) = make_model(), batch()
    losses = F.cross_entropy(model(x), y, reduction="none")
    wrong = soft_margin(model(x), y) >= 0
    without = mma(model, x, y, make_attack(eps=0.0))
    torch.testing.assert_close(without(), 2 / 3 * (losses * wrong).mean() + losses.mean() / 3)
    labels = model(x).argmin(1)
    torch.testing.assert_close(mma(model, x, labels, make_attack())(), F.cross_entropy(model(x), labels))


def test_mma_looks_for_margins_in_eval_mode_and_leaves_no_gradients() -> None:
    modes = []
    model, (x, y) = make_model(), batch(24)
    y = model(x).argmax(1)
    handle = model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    objective = mma(model.train(), x, y, make_attack(24))
    assert not any(modes) and model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    modes.clear()
    objective()
    handle.remove()
    assert modes and all(modes)


def test_a_second_round_starts_at_the_radius_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = make_model(), batch(24)
    with torch.no_grad():
        model[-1].weight.mul_(6)
    y = model(x).argmax(1)
    radii: list[Tensor] = []
    original = mma_file.zero_along

    def noted(*arguments: Any) -> Tensor:
        radii.append(original(*arguments))
        starts.append(arguments[5])
        return radii[-1]

    starts: list[Tensor] = []
    monkeypatch.setattr(mma_file, "zero_along", noted)
    mma(model, x, y, make_attack(24), rounds=2)
    assert len(radii) == 2 and torch.equal(starts[0], torch.full_like(starts[0], 51 / 320 * EPS))
    torch.testing.assert_close(starts[1], radii[0].clamp_min(51 / 320 * EPS))
    assert (radii[0] > starts[0]).any()
