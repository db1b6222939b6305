"""Accuracy under an attack and the gap between the splits, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.evaluation import accuracy as module
from robustscape.evaluation.accuracy import accuracy
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.trained_run import TrainedRun

ONE_STEP = AttackSpec(attack="pgd", bounds=None, parameters={"steps": 1, "rel_step_size": 1.0, "random_start": False})


class Threshold(nn.Module):
    """Class 1 where x is above 0: PGD moves x against its label by eps."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1)[:, 0]
        return torch.stack([-score, score], 1)


def run_of(train: list[float], test: list[float], eps: float, seed: int = 0) -> TrainedRun:
    """All labels are 1: the sample x is right where x > 0, and robust where x > eps."""
    splits = [Split(torch.tensor(values)[:, None], torch.ones(len(values)).long(), 1.0) for values in (train, test)]
    config: dict[str, Any] = {"recipe": {"name": "r"}}
    return TrainedRun(
        Threshold().eval(), *splits, eps, seed, torch.device("cpu"), 2, path=Path(), config=config, checkpoint=""
    )


def found(run: TrainedRun, **options: Any) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in accuracy(run, **options)}


def test_percentages_and_their_gap() -> None:
    run = run_of([0.3, 0.2, 0.05, -0.1, 0.4], [0.3, 0.05, 0.06, -0.2], 0.1)
    assert found(run, attack=ONE_STEP) == pytest.approx(
        {"robust_train_accuracy": 60.0, "robust_test_accuracy": 25.0, "generalization_gap": 35.0}
    )
    assert found(run, attack=ONE_STEP, eps=0.0) == pytest.approx(
        {"robust_train_accuracy": 80.0, "robust_test_accuracy": 75.0, "generalization_gap": 5.0}
    )


def test_the_gap_is_train_minus_test_also_where_it_is_negative() -> None:
    run = run_of([0.3, -0.2], [0.3, 0.4, 0.5, -0.1], 0.1)
    assert found(run, attack=ONE_STEP)["generalization_gap"] == pytest.approx(50.0 - 75.0)


def test_the_last_sample_counts() -> None:
    assert found(run_of([0.3, 0.3, -0.3], [0.3, -0.3], 0.1), attack=ONE_STEP)["robust_train_accuracy"] == pytest.approx(
        200 / 3
    )


def test_first_samples_of_each_split() -> None:
    run = run_of([0.3, 0.3, -0.3], [-0.3, 0.3, 0.3], 0.1)
    assert found(run, attack=ONE_STEP, samples=2)["generalization_gap"] == pytest.approx(100.0 - 50.0)


def test_the_attack_has_the_runs_seed_and_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []

    def craft(model: Any, x: Tensor, y: Tensor, attack: Any, eps: float, *, seed: int) -> Tensor:
        asked.append((eps, seed))
        return x

    monkeypatch.setattr(module, "craft", craft)
    accuracy(run_of([0.3], [0.3], 0.25, seed=7), attack=ONE_STEP)
    assert asked == [(0.25, 7)] * 2


def test_samples_are_judged_in_eval_mode_and_leave_the_model_in_its_own() -> None:
    """In training mode the normalisation of the batch would exchange the classes."""
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False), nn.Flatten(), nn.Linear(1, 2)).train()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model[2].bias.zero_()
    before = model[0].running_mean.clone()
    x, y = torch.tensor([[0.5], [1.0], [3.0], [9.0]]), torch.ones(4).long()
    assert correctly_classified(model, x, y).all(), "all are above the running mean, half are below the batch's"
    assert model.training and torch.equal(model[0].running_mean, before)
