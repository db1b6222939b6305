"""Robust accuracy against eps and steps: of all samples, by attacks of their own, with a flag where it rises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation import attack_strength as module
from robustscape.evaluation.attack_strength import attack_strength
from robustscape.evaluation.harness import flags
from robustscape.evaluation.trained_run import TrainedRun

PARAMETERS = {"steps": 1, "rel_step_size": 0.25, "random_start": False}
PGD = AttackSpec(attack="pgd", bounds=None, parameters=PARAMETERS)


class Threshold(nn.Module):
    """Class 1 where x is above 0."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1)[:, 0]
        return torch.stack([-score, score], 1)


def run_of(values: list[float], eps: float = 0.4) -> TrainedRun:
    """All labels are 1: a sample is broken by moving it from x to below 0."""
    split = Split(torch.tensor(values)[:, None], torch.ones(len(values)).long(), 1.0)
    config: dict[str, Any] = {"recipe": {"name": "r"}}
    return TrainedRun(
        Threshold().eval(), split, split, eps, 3, torch.device("cpu"), 2, path=Path(), config=config, checkpoint=""
    )


#: Two of the eight are misclassified without an attack.
VALUES = [-0.2, 0.05, 0.15, 0.25, 0.35, 0.45, -0.1, 0.55]


def accuracies(rows: list[dict[str, Any]]) -> list[float]:
    assert {row["samples"] for row in rows} == {8} and {row["unit"] for row in rows} == {"percent"}
    return [row["value"] for row in rows]


def test_along_eps_every_point_is_a_percentage_of_all_samples() -> None:
    """A step of eps/4: at eps 0.4 it reaches 0.1."""
    rows = attack_strength(run_of(VALUES), attack=PGD, eps=[0.0, 0.4, 1.2, 2.0, 4.0])
    assert accuracies(rows) == pytest.approx([75.0, 62.5, 37.5, 12.5, 0.0])
    assert [row["attack_eps"] for row in rows] == [0.0, 0.4, 1.2, 2.0, 4.0]
    assert not any(row["flag_non_monotone"] for row in rows)


def test_along_steps_every_point_has_its_own_number_of_steps() -> None:
    rows = attack_strength(run_of(VALUES), attack=PGD, steps=[1, 2, 3, 4])
    assert accuracies(rows) == pytest.approx([62.5, 50.0, 37.5, 25.0])
    assert [row["steps"] for row in rows] == [1, 2, 3, 4] and {row["attack_eps"] for row in rows} == {0.4}


def test_samples_that_are_misclassified_are_not_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def craft(model: Any, x: Tensor, y: Tensor, spec: Any, eps: float, *, seed: int, index: Tensor) -> Tensor:
        asked.append((len(x), seed, index.tolist()))
        return x

    monkeypatch.setattr(module, "craft", craft)
    attack_strength(run_of(VALUES), attack=PGD, eps=[0.1])
    assert asked == [(6, 3, [1, 2, 3, 4, 5, 7])], "each with the random numbers of its place in the split"


@pytest.mark.parametrize(
    ("values", "masked"),
    [
        ([70, 60, 50], False),
        ([70, 60, 60.1], False),
        ([70, 60, 60.3], True),
        ([60, 70, 50], True),
        ([70, 50, 60, 40], True),
        ([50, 40, 30, 45], True),
        ([70], False),
        ([], False),
    ],
)
def test_a_rise_anywhere_is_flagged(values: list[float], masked: bool) -> None:
    assert flags.non_monotone(values) is masked


def test_either_eps_or_steps() -> None:
    for arguments in ({}, {"eps": [0.1], "steps": [1]}):
        with pytest.raises(ConfigError, match="either eps or steps"):
            attack_strength(run_of(VALUES), attack=PGD, **arguments)
    with pytest.raises(ConfigError, match="no parameter 'steps'"):
        attack_strength(run_of(VALUES), attack=AttackSpec(attack="fgsm"), steps=[1])
