"""The difference of two methods' robust accuracies: of those methods, in their order, under the whole suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.robust_accuracy_difference import robust_accuracy_difference
from robustscape.evaluation.trained_run import TrainedRun

PGD = AttackSpec(attack="pgd", bounds=None, parameters={"steps": 1, "rel_step_size": 1.0, "random_start": False})
SUITE = Suite(name="one", attacks=(("pgd", PGD),))


class Threshold(nn.Module):
    """Class 1 where x is above ``place``."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1)[:, 0] - self.place
        return torch.stack([-score, score], 1)


def trained(recipe_name: str, place: float, seed: int = 3) -> TrainedRun:
    """A run whose net is right on the samples above ``place``, and under attack on those above ``place`` + 0.2."""
    values = torch.arange(10) / 10 + 0.05
    split = Split(values[:, None], torch.ones(10).long(), 1.0)
    recipe: dict[str, Any] = {
        "name": recipe_name
    }  # as a run's configuration has it: the factors of a recipe are not in there
    config = {"dataset": {"name": "d"}, "architecture": {"name": "a"}, "recipe": recipe}
    model = Threshold(place).eval()
    return TrainedRun(model, split, split, 0.2, seed, torch.device("cpu"), 2, Path(), config, checkpoint="")


RUNS = [trained("AWP", 0.0), trained("AT", 0.1), trained("AWP+EnSGD", 0.4), trained("other", 0.9)]


@pytest.mark.parametrize(
    ("of", "minus", "samples", "expected"),
    [("AWP", "AWP+EnSGD", None, 40.0), ("AWP+EnSGD", "AWP", None, -40.0), ("AWP", "AT", 4, 25.0)],
)
def test_one_method_minus_the_other(of: str, minus: str, samples: int | None, expected: float) -> None:
    (row,) = robust_accuracy_difference(RUNS, suite=SUITE, of=of, minus=minus, samples=samples)
    assert row["value"] == pytest.approx(expected) and row["unit"] == "percentage_points"
    assert row["metric"] == "robust_accuracy_difference"
    assert (row["dataset"], row["architecture"], row["seed"], row["suite"]) == ("d", "a", 3, "one")
    assert row["samples"] == (samples or 10)


def test_the_two_evaluations_do_not_share_a_state(tmp_path: Path) -> None:
    runs = [replace(run, state=tmp_path) for run in RUNS]
    (row,) = robust_accuracy_difference(runs, suite=SUITE, of="AWP", minus="AWP+EnSGD")
    assert row["value"] == pytest.approx(40.0) and {p.name for p in tmp_path.iterdir()} == {"AWP", "AWP+EnSGD"}


@pytest.mark.parametrize("runs", [RUNS[:2], [*RUNS, trained("AWP", 0.5, seed=4)]])
def test_each_method_has_one_run(runs: list[TrainedRun]) -> None:
    with pytest.raises(ConfigError, match="needs one run of recipe"):
        robust_accuracy_difference(runs, suite=SUITE, of="AWP", minus="AWP+EnSGD")
