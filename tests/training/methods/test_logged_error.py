"""The running training error that standard and adversarial training log: on the batches as they are trained on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.evaluation.harness.craft import craft
from robustscape.training import loop
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods.adversarial import adversarial
from robustscape.training.methods.standard import standard

PGD = AttackSpec(attack="pgd", parameters={"steps": 3, "rel_step_size": 0.4, "random_start": False})


def net(norm: bool = False) -> nn.Module:
    torch.manual_seed(2)
    middle: list[nn.Module] = [nn.BatchNorm1d(12)] if norm else []
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), *middle, nn.ReLU(), nn.Linear(12, 3))


def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(30) % 3
    x = torch.rand(3, 1, 4, 4, generator=generator)[y] + 0.3 * torch.randn(30, 1, 4, 4, generator=generator)
    return Split(x.clamp(0, 1), y, 1.0)


def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return 100 * (model(x).argmax(1) != y).float().mean().item()


def test_the_error_is_that_of_the_attacked_batch_in_training_mode() -> None:
    model, data = net(norm=True).train(), split()
    x, y = data.inputs(), data.y
    attack = TrainingAttack(
        catalog.load_function("attack", "pgd"), PGD.parameters, ThreatModel("Linf", 0.2), SampleGenerator.seeded(0, 30)
    )
    attacked = craft(model.eval(), x, y, PGD, 0.2, seed=0)
    model.train()
    objective = adversarial(model, x, y, attack, log_error=True)
    model.train()
    objective()
    assert dict(objective.logged)["train_error"].item() == pytest.approx(error(model, attacked, y))  # type: ignore[attr-defined]
    assert error(model, attacked, y) != error(model, x, y)
    clean = standard(model, x, y, attack, log_error=True)
    clean()
    assert dict(clean.logged)["train_error"].item() == pytest.approx(error(model, x, y))  # type: ignore[attr-defined]


def test_the_history_has_the_mean_over_the_epochs_updates() -> None:
    """At a learning rate that moves nothing the mean over batches of unequal size is the error of the whole split."""
    model, data = net(), split()
    recipe = Recipe.model_validate(
        {
            "method": "adversarial",
            "attack": "pgd",
            "parameters": {"log_error": True},
            "optimizer": {"name": "sgd", "parameters": {"lr": 1e-12}},
            "epochs": 1,
            "batch_size": 8,
        }
    )
    expected = error(model, craft(model, data.inputs(), data.y, PGD, 0.2, seed=0), data.y)
    found = loop.train(model, data, data, recipe, {"pgd": PGD}, 0.2, 0, progress=False)
    assert found.history["train_error"].tolist() == pytest.approx([expected])
    assert 0 < expected < 100
