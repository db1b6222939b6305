"""The table of docs/how-to/evaluate-a-model.md about other libraries, as far as they can be asked."""

from __future__ import annotations

import importlib.metadata
import inspect

import foolbox
import numpy as np
import pyautoattack
import pytest
import torch
import torchattacks
from art.attacks.evasion import FastGradientMethod
from art.estimators.classification import PyTorchClassifier
from pyautoattack import checks
from torch import nn

import robustscape
from robustscape.errors import UserError


def test_what_the_table_says_of_pyautoattack() -> None:
    run = inspect.signature(pyautoattack.AutoAttack.run_standard_evaluation).parameters
    made = inspect.signature(pyautoattack.AutoAttack.__init__).parameters
    assert "state_path" in run  # goes on after an interruption
    assert made["eps"].annotation is float and "eps" not in run  # one budget
    assert "'L1'" in str(made["norm"].annotation)


def test_what_the_table_says_of_foolbox_and_torchattacks() -> None:
    assert "epsilons" in inspect.signature(foolbox.attacks.LinfPGD.__call__).parameters
    assert hasattr(foolbox.attacks, "L1BrendelBethgeAttack")
    made = inspect.signature(torchattacks.AutoAttack.__init__).parameters
    assert isinstance(made["eps"].default, float) and "state_path" not in made
    assert not hasattr(foolbox.attacks, "AutoAttack")


@pytest.mark.parametrize("name", ["pyautoattack", "foolbox", "torchattacks", "adversarial-robustness-toolbox"])
def test_only_ours_is_a_command(name: str) -> None:
    points = importlib.metadata.distribution(name).entry_points
    assert not [point for point in points if point.group == "console_scripts"]


def test_what_the_table_says_of_gradient_masking() -> None:
    assert {"check_randomized", "check_zero_gradients", "check_square_sr"} <= set(vars(checks))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))


def test_what_the_table_says_of_inputs_up_to_255() -> None:
    model, x = net(), 255 * torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    with pytest.raises(UserError, match="255"):
        robustscape.evaluate(model, x, y, suite="pgd20", eps=8 / 255)
    wrapped = foolbox.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    with pytest.raises(AssertionError, match=r"^$"):
        foolbox.attacks.FGSM()(wrapped, x, y, epsilons=8 / 255)
    assert torchattacks.FGSM(model)(x, y).max() == 1.0
    oracle = pyautoattack.AutoAttack(model, eps=8 / 255, version="custom", attacks=["apgd-ce"], seed=0)
    attacked = oracle.run_standard_evaluation(x, y)[0]
    assert attacked.shape == x.shape
    estimator = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 4, 4), 5, clip_values=(0.0, 1.0))
    attacked = FastGradientMethod(estimator, eps=8 / 255).generate(x.numpy())
    assert np.abs(attacked - x.numpy()).max() == pytest.approx(8 / 255, rel=1e-3)
