"""The cost of an update: passes of the attack, of the method and of the optimizer, in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.training.update_cost import update_cost

PGD = AttackSpec(attack="pgd", parameters={"steps": 3, "rel_step_size": 0.5}, model_mode="train")
KL = AttackSpec(attack="kl_pgd", parameters={"steps": 3, "rel_step_size": 0.5})
SGD = {"name": "sgd", "parameters": {"lr": 0.1}}
AWP = {"name": "awp", "parameters": {"lr": 0.1}}


def trained(recipe: dict[str, Any]) -> TrainedRun:
    """A run that was "trained" by a recipe; 70 images, so that three updates of 32 go round."""
    torch.manual_seed(0)
    x, y = torch.randint(0, 256, (70, 1, 4, 4), dtype=torch.uint8), torch.arange(70) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    content = {"method": "adversarial", "attack": "pgd", "optimizer": SGD, "epochs": 4, "batch_size": 32} | recipe
    config = {
        "recipe": Recipe.model_validate(content).model_dump(),
        "attacks": {"pgd": PGD.model_dump(), "kl": KL.model_dump()},
    }
    split = Split(x, y, 255.0)
    return TrainedRun(model, split, split, 0.1, 0, torch.device("cpu"), 3, path=Path(), config=config, checkpoint="")


@pytest.mark.parametrize(
    ("recipe", "forwards", "backwards"),
    [
        ({}, 4, 4),
        ({"optimizer": AWP}, 5, 5),
        ({"optimizer": {"name": "entropy_sgd", "parameters": {"lr": 0.1, "inner_steps": 2}}}, 4, 4),
        ({"optimizer": {"name": "entropy_sgd", "parameters": {"lr": 0.1, "awp_gamma": 0.01}}}, 5, 5),
        ({"method": "trades", "attack": "kl"}, 6, 5),  # the attack needs the clean prediction
        ({"recalibrate": 2, "probes": {"clean": {"name": "accuracy"}}}, 4, 4),
        ({"phases": [{"at": 0.5, "optimizer": AWP}]}, 5, 5),
    ],
    ids=["sgd", "awp", "entropy_sgd", "entropy_sgd with awp", "trades", "no update", "the last phase"],
)
def test_passes_of_an_update(recipe: dict[str, Any], forwards: int, backwards: int) -> None:
    run = trained(recipe)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    rows = {row["metric"]: row["value"] for row in update_cost(run, updates=3)}
    assert (rows["forward_passes"], rows["backward_passes"]) == (forwards, backwards)
    assert 0 < rows["time_per_update"] < 1
    assert -100 < rows["training_time_overhead"] < 10_000
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert not run.model.training


@pytest.mark.parametrize(("own", "plain", "overhead"), [(1.0, 1.0, 0.0), (1.08, 1.0, 8.0), (0.5, 1.0, -50.0)])
def test_the_overhead_is_over_sgd_with_the_same_settings(
    own: float, plain: float, overhead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow turn (ten times) affects both alike."""
    optimizers: list[tuple[str, dict[str, Any]]] = []
    turns = iter([own, plain, 10 * own, 10 * plain, own, plain])

    def train(model: Any, part: Any, test: Any, recipe: Recipe, *_: Any, **__: Any) -> None:
        optimizers.append((recipe.optimizer.name, dict(recipe.optimizer.parameters)))

    monkeypatch.setattr("robustscape.training.update_cost.loop.train", train)

    def seconds(call: Any, device: Any) -> float:
        call()
        return next(turns)

    monkeypatch.setattr("robustscape.training.update_cost.device_seconds", seconds)
    awp = {"name": "awp", "parameters": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "gamma": 0.01}}
    rows = {row["metric"]: row["value"] for row in update_cost(trained({"optimizer": awp}), updates=2)}
    assert rows["training_time_overhead"] == pytest.approx(overhead)
    assert rows["time_per_update"] == pytest.approx(own / 2)
    assert [name for name, _ in optimizers] == ["awp", "sgd"] * 4
    settings = {k: v for k, v in optimizers[1][1].items() if k in ("lr", "momentum", "weight_decay")}
    assert settings == {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
