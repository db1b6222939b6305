"""The two points at which GradAlign compares gradients: the input, and a uniform one of the ball, not the attack's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.training import loop
from robustscape.training.methods import gradalign as module


def points(monkeypatch: pytest.MonkeyPatch, epoch: int = 0, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The input, the other point and the attack's point of one batch."""
    seen: list[Tensor] = []

    def alignment(model: Any, x: Tensor, other: Tensor, y: Tensor) -> Tensor:
        seen.extend([x, other])
        return torch.zeros(())

    monkeypatch.setattr(module, "alignment", alignment)
    recipe = Recipe.model_validate(
        {
            "method": "gradalign",
            "attack": "fgsm",
            "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}},
            "epochs": 2,
        }
    )
    attack = loop.attack_maker(recipe, {"fgsm": AttackSpec(attack="fgsm")}, 0.1, seed)(epoch, torch.arange(50), 0.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    x = torch.full((50, 1, 8, 8), 0.5)
    y = torch.arange(50) % 3
    module.gradalign(model, x, y, attack)()
    return seen[0], seen[1], attack(model, x, y)


def test_the_other_point_is_uniform_in_the_ball_and_new_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, other, attacked = points(monkeypatch)
    offset = (other - x).flatten()
    assert offset.abs().max() <= 0.1 + 1e-6
    assert offset.mean().abs() < 0.01 and offset.std() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert (other - attacked).abs().mean() > 0.05
    for again in (points(monkeypatch, epoch=1)[1], points(monkeypatch, seed=2)[1]):
        correlation = torch.corrcoef(torch.stack([offset, (again - x).flatten()]))[0, 1]
        assert correlation.abs() < 0.1
