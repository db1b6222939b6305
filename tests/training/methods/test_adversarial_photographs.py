"""Adversarial training on photographs: the attack sees the crops, and the loss what the attack made of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fgsm import fgsm
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods import adversarial_photographs as module
from robustscape.training.methods.adversarial import adversarial
from robustscape.training.methods.adversarial_photographs import adversarial_photographs


def attack() -> TrainingAttack:
    return TrainingAttack(fgsm, {}, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, 6))


def net(side: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 5))


def test_crops_are_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(x: Tensor) -> Tensor:
        return x.flip(3)

    monkeypatch.setattr(module, "cropped_and_mirrored", changed)
    model, x, y = net(8), torch.rand(6, 3, 8, 8), torch.arange(6) % 5
    expected = F.cross_entropy(model(attack()(model, x.flip(3), y)), y)
    found = adversarial_photographs(model, x, y, attack())()
    assert torch.allclose(found, expected)
    assert found > F.cross_entropy(model(x.flip(3)), y), "a step up"
    assert not torch.allclose(found, adversarial(model, x, y, attack())())


def test_photographs_are_cropped_and_stand_ins_are_not() -> None:
    for side in (64, 14):
        model, x, y = net(side), torch.rand(6, 3, side, side), torch.arange(6) % 5
        same = torch.allclose(adversarial_photographs(model, x, y, attack())(), adversarial(model, x, y, attack())())
        assert same == (side == 14)
