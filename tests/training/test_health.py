"""Health: a trained net has it and an untrained one has not, whatever the method's loss holds; the same bits each time."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.training import health
from robustscape.training.health import measure_health

ATTACKS = {
    "pgd": AttackSpec(attack="pgd", parameters={"steps": 5, "rel_step_size": 0.4}),
    "noise": AttackSpec(attack="random_noise", model_mode="train"),
}
HISTORY = pd.DataFrame({"train_loss": [2.0, 1.5]})


class Threshold(nn.Module):
    """Says class 1 where the first pixel is above a half, ``slope`` times as surely as it is far from it; counts its passes."""

    def __init__(self, slope: float = 100.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        margin = self.slope * (x.flatten(1)[:, 0] - 0.5) + 0.0 * self.norm(x).sum()
        return torch.stack([-margin, margin], dim=1) / 2


def make_split(size: int, far: float) -> Split:
    """Images whose first pixel is ``far`` from the middle, on the side of their label."""
    y = torch.arange(size) % 2
    x = torch.full((size, 1, 2, 2), 0.5)
    x[:, 0, 0, 0] += far * (2.0 * y - 1)
    return Split((x * 100).round().to(torch.uint8), y, 100.0)


def make_recipe(**changes: Any) -> Recipe:
    content = {"method": "adversarial", "attack": "pgd", "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}}}
    return Recipe.model_validate({**content, "epochs": 2, "batch_size": 20, **changes})


def measure(model: nn.Module, eps: float = 0.1, far: float = 0.3, **changes: Any) -> dict[str, Any]:
    history = changes.pop("history", HISTORY)
    splits = make_split(50, far), make_split(30, far)
    return measure_health(model, *splits, make_recipe(**changes), ATTACKS, eps, 0, history, 2)


def test_a_net_that_reached_its_objective() -> None:
    found = measure(Threshold())
    assert found["clean_accuracy"] == found["robust_accuracy"] == 100.0
    assert found["attack"] == "pgd" and found["clean_samples"] == found["robust_samples"] == 30
    # Worst input of every sample: 0.2 from the boundary.
    assert found["loss_over_chance"] == pytest.approx(math.log1p(math.exp(-20)) / math.log(2), rel=1e-3)
    assert found["final_loss"] == 1.5 and found["updates"] == 2 * 3 and found["classes"] == 2


def test_accurate_and_not_robust() -> None:
    found = measure(Threshold(), eps=0.4)
    assert found["clean_accuracy"] == 100.0 and found["robust_accuracy"] == 0.0
    assert found["loss_over_chance"] > 10


def test_a_net_that_learnt_nothing_is_at_chance() -> None:
    found = measure(Threshold(slope=0.0))
    assert found["clean_accuracy"] == found["robust_accuracy"] == 50.0
    assert found["loss_over_chance"] == pytest.approx(1.0)


def test_accuracies_are_of_test_samples_and_the_loss_is_of_training_samples() -> None:
    """One of the two splits has the wrong labels."""
    right, wrong = make_split(40, 0.3), make_split(40, 0.3)
    wrong.y[:] = 1 - wrong.y
    for train, test, accuracy in ((right, wrong, 0.0), (wrong, right, 100.0)):
        found = measure_health(Threshold(), train, test, make_recipe(), ATTACKS, 0.1, 0, HISTORY, 2)
        assert found["clean_accuracy"] == found["robust_accuracy"] == accuracy
        assert (found["loss_over_chance"] > 1) == (train is wrong)


@pytest.mark.parametrize("changes", [{"attack": None, "method": "standard"}, {"eps": 0.0}])
def test_without_an_attack_there_is_no_robust_accuracy(changes: dict[str, Any]) -> None:
    found = measure(Threshold(), **changes)
    assert found["robust_accuracy"] is None and found["attack"] is None and found["robust_samples"] == 0
    assert found["loss_over_chance"] == pytest.approx(math.log1p(math.exp(-30)) / math.log(2), abs=1e-9)


def test_the_attack_is_that_of_training_and_the_model_is_in_eval_mode() -> None:
    model = Threshold().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noisy = measure(model, eps=0.4, far=0.3, attack="noise")
    assert set(model.modes) == {False}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert 40 < noisy["robust_accuracy"] < 100, "random noise breaks some, the worst case would break all"


def test_a_net_trained_on_filtered_images_is_measured_on_such_images() -> None:
    whole = measure(Threshold(), method="standard", attack=None)
    nothing_removed = {"kind": "low_pass", "percent": 0}
    assert measure(Threshold(), method="standard_filtered", attack=None, parameters=nothing_removed) == {
        **whole,
        "inputs": "filtered",
    }
    # Of four coefficients the mean is left: the first pixel is as far from a half as a quarter of what it was.
    mean = measure(Threshold(), method="standard_filtered", attack=None, parameters={"kind": "low_pass", "percent": 75})
    assert mean["clean_accuracy"] == whole["clean_accuracy"] == 100
    assert mean["loss_over_chance"] > 10 * whole["loss_over_chance"]


def test_the_loss_is_of_the_same_kind_for_every_method() -> None:
    """TRADES' own loss holds a divergence times beta: it is recorded, and nothing is judged by it."""
    plain = measure(Threshold())
    trades = measure(
        Threshold(), method="trades", parameters={"beta": 6.0}, history=pd.DataFrame({"train_loss": [9.0]})
    )
    assert trades["loss_over_chance"] == plain["loss_over_chance"] and trades["final_loss"] == 9.0


def test_a_loss_that_is_not_finite_is_none() -> None:
    model = Threshold()
    found = measure(model, history=pd.DataFrame({"train_loss": [float("nan")]}))
    assert found["final_loss"] is None
    with torch.no_grad():
        model.slope.fill_(float("nan"))
    assert measure(model, attack=None, method="standard")["loss_over_chance"] is None


def test_outer_updates_count_where_the_history_has_them() -> None:
    counted = pd.DataFrame({"train_loss": [1.0, 1.0], "outer_updates": [2.0, 3.0]})
    assert measure(Threshold(), history=counted)["updates"] == 5
    assert measure(Threshold(), batch_size=None)["updates"] == 2
    other_optimizer_first = pd.DataFrame({"train_loss": [1.0, 1.0], "outer_updates": [None, 3.0]})
    assert measure(Threshold(), history=other_optimizer_first, batch_size=None)["updates"] == 1 + 3


def test_the_same_bits_again_and_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(Threshold(slope=3.0), attack="noise", eps=0.5)
    assert first == measure(Threshold(slope=3.0), attack="noise", eps=0.5)
    monkeypatch.setattr(health, "_BATCH", 7)
    other = measure(Threshold(slope=3.0), attack="noise", eps=0.5)
    assert other["robust_accuracy"] == first["robust_accuracy"]
    assert other["loss_over_chance"] == pytest.approx(first["loss_over_chance"], rel=1e-6)


def test_large_sets_are_measured_on_their_first_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CLEAN_SAMPLES", 20)
    monkeypatch.setattr(health, "ROBUST_SAMPLES", 10)
    monkeypatch.setattr(health, "LOSS_SAMPLES", 5)
    found = measure(Threshold())
    assert (found["clean_samples"], found["robust_samples"], found["loss_samples"]) == (20, 10, 5)
    assert found["clean_accuracy"] == 100.0
