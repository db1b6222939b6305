"""Points on the way up: against the optimizer that visits them, closed forms, and the definitions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.ascent_cosine import ascent_cosine
from robustscape.landscape.ascent_plane import ascent_plane
from robustscape.landscape.ascent_profile import ascent_profile
from robustscape.landscape.directions import flatten, movable, parameters_of
from robustscape.landscape.loss_decrease import loss_decrease
from robustscape.landscape.perturbed_loss import perturbed_loss
from robustscape.training.optimizers.sam import SAM


def make_run(rho: float | None = 0.2) -> TrainedRun:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    x = torch.randint(0, 256, (40, 1, 3, 3), dtype=torch.uint8)
    y = torch.randint(0, 3, (40,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x.float() / 255), y).backward()
        optimizer.step()
    parameters = {"lr": 0.1} if rho is None else {"lr": 0.1, "rho": rho, "steps": 2}
    config: dict[str, Any] = {"recipe": {"optimizer": {"name": "sam", "parameters": parameters}, "batch_size": 16}}
    train, test = Split(x[:32], y[:32], 255.0), Split(x[32:], y[32:], 255.0)
    return TrainedRun(model.eval(), train, test, 0.0, 0, torch.device("cpu"), 3, Path("run"), config, "0" * 64)


def batch(run: TrainedRun, count: int = 16) -> tuple[Tensor, Tensor]:
    return run.train.inputs(slice(count)), run.train.y[:count]


def test_gradient_and_loss_are_those_of_the_whole_batch_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    x, y = batch(run, 32)
    value = F.cross_entropy(run.model(x), y)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(run.model.parameters()))])
    for chunk in (512, 5):
        monkeypatch.setattr(ascent, "CHUNK", chunk)
        torch.testing.assert_close(flatten(ascent.batch_gradient(run.model, x, y)), expected, rtol=1e-4, atol=1e-7)
        assert ascent.batch_loss(run.model, x, y).item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_chain_is_the_optimizers(steps: int) -> None:
    """SAM's last pass is at the end of the same chain."""
    run = make_run()
    x, y = batch(run)
    model = ascent.eval_copy(run.model)
    with movable(model) as move:
        offset = ascent.ascend_weights(model, move, x, y, 0.3, steps)
        end = flatten(parameters_of(model)).clone()
    visited: list[Tensor] = []
    other = ascent.eval_copy(run.model)
    optimizer = SAM(other.parameters(), lr=0.1, rho=0.3, steps=steps)

    def closure() -> Tensor:
        optimizer.zero_grad()
        visited.append(flatten(parameters_of(other)).clone())
        value = F.cross_entropy(other(x), y)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(end, visited[-1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(visited[0] + flatten(offset), end, rtol=1e-5, atol=1e-6)
    length = flatten(offset).norm().item()
    assert length == pytest.approx(0.3, rel=1e-5) if steps == 1 else 0.2 < length < 0.3


def table(rows: list[dict[str, Any]], metric: str, *keys: str) -> dict[Any, float]:
    return {
        tuple(r[k] for k in keys) if len(keys) > 1 else r[keys[0]]: r["value"] for r in rows if r["metric"] == metric
    }


def test_perturbed_loss_is_the_mean_over_batches_at_the_ends_of_the_chains() -> None:
    run = make_run()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    found = perturbed_loss(run, steps=[0, 1, 2], batch=16)
    losses = table(found, "perturbed_loss", "n_ascent_eval")
    model = ascent.eval_copy(run.model)
    for steps in (0, 1, 2):
        expected = 0.0
        for part in (slice(0, 16), slice(16, 32)):
            x, y = run.train.inputs(part), run.train.y[part]
            with movable(model) as move:
                if steps:
                    ascent.ascend_weights(model, move, x, y, 0.2, steps)
                expected += F.cross_entropy(model(x), y).item() / 2
        assert losses[steps] == pytest.approx(expected, rel=1e-5)
    assert losses[0] < losses[1]
    test = table(found, "perturbed_test_loss", "n_ascent_eval")
    assert test[0] == pytest.approx(F.cross_entropy(run.model(run.test.inputs()), run.test.y).item(), rel=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())
    assert {row["n_ascent_train"] for row in found} == {2} and {row["rho"] for row in found} == {0.2}


@pytest.mark.parametrize(
    "measure", [perturbed_loss, ascent_cosine, ascent_profile, partial(ascent_plane, points=2), loss_decrease]
)
def test_an_ascent_sees_a_training_batch(measure: Callable[..., list[dict[str, Any]]]) -> None:
    """The recipe's batch size is 16; on 8 or on all 32 samples the ascents, and so the numbers, are others."""
    run = make_run()
    found = {batch: measure(run, **({} if batch is None else {"batch": batch})) for batch in (None, 16, 8, 32)}
    assert {row["batch"] for row in found[None]} == {16}
    values = {batch: [row["value"] for row in rows] for batch, rows in found.items()}
    assert values[None] == values[16] != values[8] and values[16] != values[32]
    assert {row["batch"] for row in measure(run, batch="run")} == {16}


def test_a_run_without_a_radius_needs_a_number() -> None:
    with pytest.raises(ConfigError, match="rho"):
        perturbed_loss(make_run(rho=None))
    assert perturbed_loss(make_run(rho=None), rho=0.1, steps=[1])[0]["rho"] == 0.1


def test_the_profile_starts_at_the_loss_and_one_step_ends_where_sam_does() -> None:
    run = make_run()
    found = table(ascent_profile(run, steps=[1, 3], points=5, batch=None), "perturbed_loss", "n_ascent_eval", "k")
    assert sorted({k for _, k in found}) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    chain = table(perturbed_loss(run, steps=[0, 1], batch=None), "perturbed_loss", "n_ascent_eval")
    assert found[1, 0.0] == found[3, 0.0] == pytest.approx(chain[0], rel=1e-6)
    assert found[1, 0.2] == pytest.approx(chain[1], rel=1e-5)
    assert found[1, 0.2] > found[1, 0.1] > found[1, 0.0]


def test_the_plane_holds_both_profiles_and_the_arc_their_ends() -> None:
    run = make_run()
    rows = ascent_plane(run, points=5, batch=None)
    plane = table(rows, "perturbed_loss", "a", "b")
    profile = table(ascent_profile(run, steps=[1, 2], points=5, batch=None), "perturbed_loss", "n_ascent_eval", "k")
    for k in (0.0, 0.1, 0.2, 0.3, 0.4):
        near = min((a for a, _ in plane), key=lambda a: abs(a - k))
        kk = min((q for _, q in profile), key=lambda q: abs(q - k))
        assert plane[near, 0.0] == pytest.approx(profile[1, kk], rel=1e-5)
        assert plane[0.0, near] == pytest.approx(profile[2, kk], rel=1e-5)
    arc = {r["share_v2"]: r["value"] for r in rows if r["metric"] == "loss_on_arc"}
    middle = min((q for _, q in profile), key=lambda q: abs(q - 0.2))
    assert arc[0.0] == pytest.approx(profile[1, middle], rel=1e-5)
    assert arc[1.0] == pytest.approx(profile[2, middle], rel=1e-5)


def test_the_cosine_map_is_one_at_the_one_step_point() -> None:
    run = make_run()
    rows = ascent_plane(run, points=3, batch=16, measure="gradient_cosine")
    found = {(round(r["a"], 9), round(r["b"], 9)): r["value"] for r in rows}
    assert len(rows) == len(found) == 9 and {r["metric"] for r in rows} == {"gradient_cosine"}
    assert found[0.2, 0.0] == pytest.approx(1, abs=1e-6)
    assert all(-1 <= value < 1 for place, value in found.items() if place != (0.2, 0.0))


def test_the_cosine_of_a_small_radius_is_near_one_and_falls() -> None:
    run = make_run()
    values = [ascent_cosine(run, rho=rho, samples=None)[0]["value"] for rho in (0.01, 0.5, 2.0)]
    assert 0.999 < values[0] < 1 and values[0] > values[1] > values[2]


def test_loss_decrease_of_a_small_step_is_the_inner_product_of_gradients() -> None:
    """loss(u) - loss(u - lr d) = lr <g(u), d> + O(lr^2)."""
    run = make_run()
    lr = 1e-3
    rows = loss_decrease(run, rates=[lr, 5.0], points=3, batch=None)
    assert len(rows) == 18
    found = {(r["gradient"], r["mu"]): r["value"] for r in rows if r["lr"] == lr}
    x, y = run.train.inputs(), run.train.y
    model = ascent.eval_copy(run.model)
    slopes: dict[str, Tensor] = {}
    with movable(model) as move:
        slopes["at w"] = flatten(ascent.batch_gradient(model, x, y))
        for name, steps in (("at one step", 1), ("at two steps", 2)):
            move([], [])
            ascent.ascend_weights(model, move, x, y, 0.2, steps)
            slopes[name] = flatten(ascent.batch_gradient(model, x, y))
    for mu, here in ((1.0, "at one step"), (0.0, "at two steps")):
        for name, slope in slopes.items():
            assert found[name, mu] == pytest.approx((lr * slopes[here] @ slope).item(), rel=0.05)
