"""PGD10-T of ma2025: targets outside the meta-class, approached; the step is on the true labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fgsm import fgsm
from robustscape.attacks.pgd import pgd
from robustscape.errors import ConfigError
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods.targeted_adversarial import meta_classes, target_outside, targeted_adversarial

SIZES = [3, 1, 2]
STEPS: dict[str, Any] = {"steps": 10, "rel_step_size": 0.25}


def batch(count: int = 24) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 6)).double()
    return net.train(), torch.rand(count, 8).double(), torch.arange(count) % 6


def training_attack(count: int, eps: float = 0.2, **parameters: Any) -> TrainingAttack:
    generator = SampleGenerator.seeded(5, count)
    return TrainingAttack(pgd, {"targeted": False, **STEPS, **parameters}, ThreatModel("Linf", eps), generator)


def test_targets_are_uniform_over_the_other_meta_classes() -> None:
    meta = meta_classes([[5, 5], SIZES], 6)
    assert meta.tolist() == [0, 0, 0, 1, 2, 2]
    for label in range(6):
        y = torch.full((4000,), label)
        drawn = target_outside(meta, y, SampleGenerator.seeded(label, 4000)).bincount(minlength=6) / 4000
        outside = meta != meta[label]
        assert not drawn[~outside].any()
        assert (drawn[outside] - 1 / outside.sum()).abs().max() < 0.03


def test_the_points_come_from_targeted_pgd_and_the_loss_is_of_the_labels() -> None:
    net, x, y = batch()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    objective = targeted_adversarial(net, x, y, training_attack(len(x)), hierarchies=[SIZES, [5, 5]])
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.eval()
    attack = training_attack(len(x))
    goal = target_outside(meta_classes([SIZES], 6), y, attack.generator.fork(0))
    expected = pgd(net, x, goal, attack.threat, attack.generator, targeted=True, **STEPS)
    assert torch.equal(objective.x, expected) and torch.equal(objective.y, y)
    losses = [F.cross_entropy(net(points), goal) for points in (objective.x, x)]
    assert losses[0] < losses[1]  # towards the targets, not away
    attack.threat.check(objective.x, x)


def test_without_a_budget_it_is_standard_training() -> None:
    net, x, y = batch()
    assert targeted_adversarial(net, x, y, training_attack(len(x), eps=0.0), hierarchies=[SIZES]).x is x


@pytest.mark.parametrize("hierarchies", [[[5, 5]], [SIZES, [3, 3]], [[6]], []])
def test_one_hierarchy_must_fit_the_model(hierarchies: list[list[int]]) -> None:
    net, x, y = batch()
    with pytest.raises(ConfigError, match="for the model's 6 classes; those it holds have"):
        targeted_adversarial(net, x, y, training_attack(len(x)), hierarchies=hierarchies)


def test_an_attack_that_has_no_targets_is_refused() -> None:
    net, x, y = batch()
    attack = TrainingAttack(fgsm, {}, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, len(x)))
    with pytest.raises(ConfigError, match="must be one that can be targeted"):
        targeted_adversarial(net, x, y, attack, hierarchies=[SIZES])
