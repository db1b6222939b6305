"""Surfaces of the adversarial loss: the maximum is inside, and the closed form agrees."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.errors import AttackError, ConfigError
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape import surface as surface_module
from robustscape.landscape.directions import filter_normalised, flatten, movable, parameters_of
from robustscape.landscape.loss_surface_1d import loss_surface_1d
from robustscape.landscape.loss_surface_2d import loss_surface_2d
from robustscape.landscape.surface import Inner, surface

Case = tuple[nn.Module, Tensor, Tensor]

LINE = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]


def closed_form(weight: Tensor, x: Tensor, y: Tensor, eps: float, norm: str) -> float:
    """mean log(1 + exp(-s w.x + eps ||w||_dual)) without clipping (yamada2021 section 2.2)."""
    s = 2.0 * y.double() - 1
    dual = weight.double().norm() if norm == "L2" else weight.double().abs().sum()
    return nn.functional.softplus(-s * (x.flatten(1).double() @ weight.double()) + eps * dual).mean().item()


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_g_of_alpha_is_the_closed_form_for_logistic_regression(logistic: Case, norm: str) -> None:
    model, x, y = logistic
    eps = {"L2": 0.7, "Linf": 0.1}[norm]
    spec = AttackSpec(attack="pgd", norm=norm, bounds=None, parameters={"steps": 40, "rel_step_size": 0.15})
    direction = filter_normalised(model, 0)
    found = surface(model, x, y, [direction], LINE, Inner(spec, eps))
    weight, step = flatten(parameters_of(model)), flatten(direction)
    for alpha, value, clean in zip(LINE[:, 0].tolist(), found.loss.tolist(), found.clean_loss.tolist(), strict=True):
        exact = closed_form(weight + alpha * step, x, y, eps, norm)
        assert value <= exact + 1e-6
        assert value == pytest.approx(exact, rel=1e-3)
        assert clean == pytest.approx(closed_form(weight + alpha * step, x, y, 0.0, norm), rel=1e-5)


def test_the_centre_is_the_runs_loss(small_net: Case, pgd_linf: AttackSpec) -> None:
    model, x, y = small_net
    found = surface(model, x, y, [filter_normalised(model, 0)], LINE, Inner(pgd_linf, 0.1, seed=4))
    logits = model(craft(model, x, y, pgd_linf, 0.1, seed=4))
    assert found.loss[2].item() == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-6)
    assert found.error[2].item() == pytest.approx((logits.argmax(1) != y).double().mean().item())
    assert found.clean_loss[2].item() == pytest.approx(nn.functional.cross_entropy(model(x), y).item(), rel=1e-6)


def test_the_model_is_left_bit_for_bit(small_net: Case, pgd_linf: AttackSpec) -> None:
    model, x, y = small_net
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.net.layer1.train()  # an odd mode must stay
    surface(model, x, y, [filter_normalised(model, 0)], LINE, Inner(pgd_linf, 0.1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.net.layer1.training and not model.net.layer2.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_batch_normalisation_is_in_eval_mode_everywhere(small_net: Case, pgd_linf: AttackSpec) -> None:
    model, x, y = small_net
    inner, direction = Inner(pgd_linf, 0.1), filter_normalised(model, 0)
    expected = surface(model, x, y, [direction], LINE, inner)
    model.train()
    again = surface(model, x, y, [direction], LINE, inner)
    assert torch.equal(expected.loss, again.loss)


def test_eps_zero_is_the_clean_surface(small_net: Case, pgd_linf: AttackSpec) -> None:
    model, x, y = small_net
    found = surface(model, x, y, [filter_normalised(model, 0)], LINE, Inner(pgd_linf, 0.0))
    assert torch.equal(found.loss, found.clean_loss)
    attacked = surface(model, x, y, [filter_normalised(model, 0)], LINE, Inner(pgd_linf, 0.1))
    assert torch.equal(attacked.clean_loss, found.clean_loss)
    assert (attacked.loss > attacked.clean_loss).all()


def test_the_attack_is_recomputed_at_every_point(small_net: Case, pgd_linf: AttackSpec) -> None:
    model, x, y = small_net
    direction = filter_normalised(model, 0)
    recomputed = surface(model, x, y, [direction], LINE, Inner(pgd_linf, 0.1))
    frozen = surface(model, x, y, [direction], LINE, Inner(pgd_linf, 0.1, "frozen"))
    assert recomputed.loss[2].item() == pytest.approx(frozen.loss[2].item(), rel=1e-6)
    assert (recomputed.loss[[0, 1, 3, 4]] > frozen.loss[[0, 1, 3, 4]]).all()
    with movable(model) as move:
        move([direction], [-1.0])
        x_adv = craft(model, x, y, pgd_linf, 0.1, seed=0)
        expected = nn.functional.cross_entropy(model(x_adv), y)
    assert recomputed.loss[0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_noise_is_redrawn_at_every_point(small_net: Case, noise: AttackSpec) -> None:
    model, x, y = small_net
    still = [{name: torch.zeros_like(tensor) for name, tensor in parameters_of(model).items()}]
    redrawn = surface(model, x, y, still, LINE, Inner(noise, 0.2, "redrawn"))
    same = surface(model, x, y, still, LINE, Inner(noise, 0.2, "recomputed"))
    assert redrawn.loss.unique().numel() == 5
    assert same.loss.unique().numel() == 1


@pytest.mark.parametrize("inside", ["recomputed", "redrawn"])
@pytest.mark.parametrize("attack", ["pgd_l2", "pgd_linf", "noise"])
@pytest.mark.parametrize("net", ["logistic", "small_net", "conv_net"])
def test_points_evaluated_together_agree_with_one_at_a_time(
    net: str, attack: str, inside: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = request.getfixturevalue(net)
    # In float64: an attack on a net with kinks can carry a float32 rounding as far as the third digit of a loss.
    model, x = model.double(), x.double()
    spec = request.getfixturevalue(attack)
    directions = [filter_normalised(model, 0, number) for number in range(2)]
    coordinates = torch.cartesian_prod(LINE[:, 0], LINE[:, 0])
    inner = Inner(spec, 0.1, inside)  # type: ignore[arg-type]
    calls = []
    together = surface_module._stacked
    monkeypatch.setattr(surface_module, "_stacked", lambda *a, **k: calls.append(k["together"]) or together(*a, **k))
    first_layer = x.numel() * next(model.parameters()).shape[0]
    monkeypatch.setattr(surface_module, "STACKED", 4 * first_layer)
    many = surface(model, x, y, directions, coordinates, inner)
    monkeypatch.setattr(surface_module, "NARROW", 0)
    one = surface(model, x, y, directions, coordinates, inner)
    assert calls == [4]
    torch.testing.assert_close(many.loss, one.loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(many.clean_loss, one.clean_loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(many.error, one.error)


def test_equal_points_are_computed_once_and_in_order(
    logistic: Case, pgd_l2: AttackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = logistic
    monkeypatch.setattr(surface_module, "STACKED", x.numel())  # one point at a time
    crafted = []
    monkeypatch.setattr(surface_module, "craft", lambda *a, **k: crafted.append(1) or craft(*a, **k))
    coordinates = torch.tensor([[0.5], [0.0], [0.5], [-0.5]])
    found = surface(model, x, y, [filter_normalised(model, 0)], coordinates, Inner(pgd_l2, 0.1))
    assert len(crafted) == 3
    assert found.loss[0] == found.loss[2] and found.loss[0] != found.loss[3]


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("inside", ["recomputed", "redrawn", "frozen"])
def test_a_killed_surface_goes_on_where_it_stopped(
    logistic: Case, pgd_l2: AttackSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, together: int
) -> None:
    model, x, y = logistic
    monkeypatch.setattr(surface_module, "STACKED", together * x.numel())
    monkeypatch.setattr(surface_module.time, "monotonic", iter(range(0, 10_000, 2)).__next__)  # save every point
    directions, inner = [filter_normalised(model, 0)], Inner(pgd_l2, 0.3, inside)  # type: ignore[arg-type]
    real, left = surface_module.losses_and_correctness, [100]

    def dies(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(surface_module, "losses_and_correctness", dies)
    whole = surface(model, x, y, directions, LINE, inner)
    needed = 100 - left[0]
    left[0] = needed - 1
    with pytest.raises(KeyboardInterrupt):
        surface(model, x, y, directions, LINE, inner, tmp_path)
    left[0] = needed // 2
    again = surface(model, x, y, directions, LINE, inner, tmp_path)
    assert torch.equal(again.loss, whole.loss) and torch.equal(again.error, whole.error)
    assert torch.equal(again.clean_loss, whole.clean_loss)
    left[0] = needed
    other = surface(model, x, y, directions, LINE, Inner(pgd_l2, 0.2, inside), tmp_path)  # type: ignore[arg-type]
    assert left[0] == 0 and not torch.equal(other.loss, whole.loss), "the state of another surface was used"


def test_an_attack_in_train_mode_is_refused(pgd_l2: AttackSpec) -> None:
    with pytest.raises(ConfigError, match="eval mode"):
        Inner(pgd_l2.model_copy(update={"model_mode": "train"}), 0.1)


def test_a_model_that_answers_nan_is_refused(logistic: Case, pgd_l2: AttackSpec) -> None:
    model, x, y = logistic
    direction = {name: torch.full_like(tensor, torch.nan) for name, tensor in parameters_of(model).items()}
    with pytest.raises(AttackError, match="NaN"):
        surface(model, x, y, [direction], LINE, Inner(pgd_l2, 0.1))
    assert torch.isfinite(flatten(parameters_of(model))).all()


# -- measurements ------------------------------------------------------------------------------------------------------


def pick(rows: list[dict[str, Any]], metric: str, **where: Any) -> list[float]:
    return [r["value"] for r in rows if r["metric"] == metric and all(r[k] == v for k, v in where.items())]


def test_rows_of_a_line(logistic: Case, pgd_l2: AttackSpec, as_run: Callable[..., Any]) -> None:
    model, x, y = logistic
    run = as_run(model, x, y, eps=0.3)
    rows = loss_surface_1d(run, attack=pgd_l2, points=5, directions=3, samples=40, seed=1)
    assert len(rows) == 3 * 3 * 5 + 3 + 1
    for row in rows:
        assert row["attack"] == "pgd" and row["attack_eps"] == 0.3 and row["samples"] == 40 and not row["clip"]
        assert row["inside"] == "recomputed" and row["model_mode"] == "eval" and math.isfinite(row["value"])
    curves = [pick(rows, "adversarial_loss", direction=direction) for direction in range(3)]
    assert curves[0][2] == curves[1][2] == curves[2][2] and curves[0][0] != curves[1][0]
    sharpness = [curve[0] + curve[-1] - 2 * curve[2] for curve in curves]
    assert pick(rows, "sharpness") == pytest.approx(sharpness, abs=1e-12)
    assert pick(rows, "sharpness_mean") == pytest.approx([sum(sharpness) / 3])
    errors = pick(rows, "robust_error")
    assert max(errors) > 1 and all(abs(error * 40 / 100 - round(error * 40 / 100)) < 1e-9 for error in errors)
    found = surface(model, x[:40], y[:40], [filter_normalised(model, 1, 2)], LINE, Inner(pgd_l2, 0.3, seed=1))
    assert curves[2] == pytest.approx(found.loss.tolist(), rel=1e-5)


def test_sharpness_grows_with_eps(logistic: Case, pgd_l2: AttackSpec, as_run: Callable[..., Any]) -> None:
    # At the same weights: g's kink at w = 0 aside, S rises because eps ||w + alpha h|| is convex in alpha.
    run = as_run(*logistic)
    values = [
        pick(loss_surface_1d(run, attack=pgd_l2, eps=eps, points=3, directions=2), "sharpness_mean")[0]
        for eps in (0.0, 0.5, 1.0)
    ]
    assert values[0] < values[1] < values[2]


def test_an_even_number_of_points_is_refused(logistic: Case, pgd_l2: AttackSpec, as_run: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="odd"):
        loss_surface_1d(as_run(*logistic), attack=pgd_l2, points=4)


def test_measurements_are_deterministic(small_net: Case, pgd_linf: AttackSpec, as_run: Callable[..., Any]) -> None:
    run = as_run(*small_net)
    settings: dict[str, Any] = {"attack": pgd_linf, "points": 3, "directions": 2}
    first = loss_surface_1d(run, **settings)
    torch.manual_seed(123)
    assert loss_surface_1d(run, **settings) == first


@pytest.mark.parametrize("axes", ["eigenvectors", "filter", "random"])
def test_rows_of_a_plane(small_net: Case, pgd_linf: AttackSpec, as_run: Callable[..., Any], axes: str) -> None:
    model, x, y = small_net
    before = flatten(parameters_of(model))
    run = as_run(model, x, y)
    rows = loss_surface_2d(run, attack=pgd_linf, points=3, span=0.5, axes=axes)  # type: ignore[arg-type]
    assert len(rows) == 3 * 9 and all(row["directions"] == axes for row in rows)
    centre = pick(rows, "adversarial_loss", alpha=0.0, beta=0.0)
    logits = model(craft(model, x, y, pgd_linf, 0.1, seed=0))
    assert centre == pytest.approx([nn.functional.cross_entropy(logits, y).item()], rel=1e-6)
    assert len({*pick(rows, "adversarial_loss")}) == 9
    assert torch.equal(flatten(parameters_of(model)), before)
