"""Sharpness: exact on a quadratic, unchanged weights, attacked loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.evaluation.sharpness import highest_rise, sharpness
from robustscape.evaluation.trained_run import TrainedRun


@pytest.mark.parametrize("radius", [0.01, 0.3])
def test_on_a_quadratic_it_is_the_top_eigenvalue(radius: float) -> None:
    """L = 2 + w.A w/2 at 0: the rise is lambda_1 r^2/2, over 1 + 2. The gradient at 0 vanishes, so start beside it."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    matrix = basis @ torch.diag(torch.tensor([9.0, 3.0, 1.0, 0.5, 0.1]).double()) @ basis.T
    w = nn.Parameter(1e-6 * torch.randn(5, dtype=torch.float64))
    before = w.detach().clone()
    found = highest_rise([w], lambda: 2 + w @ matrix @ w / 2, radius, 40)
    assert found == pytest.approx(9 * radius**2 / 2 / 3, rel=1e-3)
    assert torch.equal(w.detach(), before)


def test_it_is_never_negative_and_grows_with_the_radius() -> None:
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    rises = [highest_rise([w], lambda: (w**2).sum(), r, 20) for r in (0.1, 1.0, 2.0)]
    assert rises == sorted(rises) and rises[1] == pytest.approx(((5 + 1) ** 2 - 25) / 26, rel=1e-4)
    assert highest_rise([w], lambda: -(w**2).sum().sqrt() + 5.0 + 0 * w.sum(), 10.0, 20) >= 0


def make_run() -> TrainedRun:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x, y = torch.randint(0, 256, (60, 1, 4, 4), dtype=torch.uint8), torch.randint(3, (60,))
    split = Split(x, y, 255.0)
    return TrainedRun(model, split, split, 0.1, 0, torch.device("cpu"), 3, Path(), {}, "")


def measured(**parameters: Any) -> dict[Any, float]:
    rows = sharpness(make_run(), **parameters)
    return {row["radius"]: row["value"] for row in rows}


def test_rows_and_an_untouched_model() -> None:
    run = make_run()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    attack = AttackSpec(attack="pgd", parameters={"steps": 3})
    rows = sharpness(run, attack=attack, radii=[0.1, 0.5], samples=40)
    assert [row["metric"] for row in rows] == ["loss_at_the_weights", "epsilon_sharpness", "epsilon_sharpness"]
    assert rows[0]["samples"] == 40 and 0 < rows[1]["value"] < rows[2]["value"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())


def test_the_attack_raises_the_loss_and_anew_at_every_step_the_sharpness() -> None:
    attack = AttackSpec(attack="pgd", parameters={"steps": 5})
    clean, held = measured(radii=[0.5]), measured(radii=[0.5], attack=attack)
    anew = measured(radii=[0.5], attack=attack, inside="recomputed")
    assert held[None] > clean[None] and held[None] == anew[None]
    assert anew[0.5] >= 0.98 * held[0.5]


def test_relative_radii_scale_with_the_weights() -> None:
    run = make_run()
    norm = torch.cat([p.reshape(-1) for p in run.model.parameters()]).norm().item()
    assert measured(radii=[0.02], relative=True)[0.02] == pytest.approx(
        measured(radii=[0.02 * norm])[0.02 * norm], rel=1e-6
    )
