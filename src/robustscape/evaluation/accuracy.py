"""Accuracy on both splits under one attack, and the gap between them.

yamada2021 section 6: robust train and test accuracy under the evaluation noise (the same type and eps as in training; clean
at eps = 0) and the generalisation gap, train minus test.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustscape.attacks.craft import accuracy as percent
from robustscape.attacks.craft import craft, survives
from robustscape.attacks.gradients import Classifier
from robustscape.config.attacks import AttackSpec
from robustscape.runs import TrainedRun


def accuracy_under_attack(
    model: Classifier, x: Tensor, y: Tensor, attack: AttackSpec | None, eps: float, seed: int
) -> float:
    """Percent correct after ``attack`` at ``eps``; clean when there is no attack or eps is 0."""
    points = x if attack is None or eps == 0 else craft(model, x, y, attack, eps, seed=seed)
    return percent(survives(model, points, y))


def accuracy(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Rows robust_train_accuracy, robust_test_accuracy (percent) and generalization_gap (percentage points).

    Args:
        run: the trained model and its data.
        attack: evaluation attack; its random streams are the run's seed.
        eps: radius; "run" for the run's own.
        samples: first samples of each split; None for all.
    """
    radius = run.eps if eps == "run" else float(eps)
    protocol = {"attack": attack.attack, "attack_eps": radius, "model_mode": attack.model_mode, **_short(attack)}
    rows: list[dict[str, Any]] = []
    values = {}
    for name, split in (("train", run.train), ("test", run.test)):
        x, y = split.inputs(slice(samples)), split.y[:samples]
        values[name] = accuracy_under_attack(run.model, x, y, attack, radius, run.seed)
        metric = f"robust_{name}_accuracy"
        rows.append({"metric": metric, "value": values[name], "unit": "percent", "samples": len(y), **protocol})
    gap = values["train"] - values["test"]
    rows.append(
        {"metric": "generalization_gap", "value": gap, "unit": "percentage_points", "samples": None, **protocol}
    )
    return rows


def _short(attack: AttackSpec) -> dict[str, Any]:
    """The attack's parameters that every table should carry."""
    return {key: attack.parameters.get(key) for key in ("steps", "restarts", "step_size", "rel_step_size")}
