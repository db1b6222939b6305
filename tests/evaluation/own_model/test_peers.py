"""The table of docs/how-to/evaluate-a-model.md about other libraries, as far as they can be asked."""

from __future__ import annotations

import inspect

import foolbox
import pyautoattack
import torchattacks


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
