"""The measured difference of the second-order step is that of the updates which the optimizer makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.training.optimizers.entropy_sgd import EntropySGD
from robustscape.training.second_order_step import second_order_step

PGD = AttackSpec(attack="pgd", parameters={"steps": 2, "rel_step_size": 0.5}, model_mode="train")


def trained(**settings: Any) -> TrainedRun:
    torch.manual_seed(0)
    x, y = torch.randint(0, 256, (70, 1, 4, 4), dtype=torch.uint8), torch.arange(70) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    optimizer = {"name": "entropy_sgd", "parameters": {"lr": 0.1, "inner_steps": 3, "momentum": 0.9} | settings}
    content = {"method": "adversarial", "attack": "pgd", "optimizer": optimizer, "epochs": 4, "batch_size": 32}
    config = {"recipe": Recipe.model_validate(content).model_dump(), "attacks": {"pgd": PGD.model_dump()}}
    split = Split(x, y, 255.0)
    return TrainedRun(model, split, split, 0.1, 0, torch.device("cpu"), 3, path=Path(), config=config, checkpoint="")


def test_the_change_is_that_of_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded as equation 77 has it, at the moment of the update."""
    factors: list[float] = []
    outer_update = EntropySGD._outer_update

    def recorded(self: EntropySGD, group: dict[str, Any]) -> None:
        states = [self.state[p] for p in group["params"]]
        factors.append(max((1 / (1 - 2.0 * (s["square"] - s["mu"] ** 2))).max().item() for s in states))
        outer_update(self, group)

    monkeypatch.setattr(EntropySGD, "_outer_update", recorded)
    run = trained(order="second", gamma=2.0)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    rows = {row["metric"]: row for row in second_order_step(run, updates=4)}
    assert len(factors) == 4 and max(factors) > 1.001
    assert rows["largest_step_change"]["value"] == pytest.approx(100 * (max(factors) - 1), rel=1e-4)
    assert 1 / (1 - rows["largest_gamma_variance"]["value"]) == pytest.approx(max(factors), rel=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert not run.model.training


def test_without_a_pull_there_is_no_change() -> None:
    assert [row["value"] for row in second_order_step(trained(order="second", gamma=0.0))] == [0.0, 0.0]


def test_another_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="not with second-order"):
        second_order_step(trained())
