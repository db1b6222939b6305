"""Accuracy on both splits under one attack, and the gap between them.

yamada2021 section 6: robust train and test accuracy under the evaluation noise (the same type and eps as in training; clean
at eps = 0) and the generalisation gap, train minus test.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import correctly_classified, craft, percent
from robustscape.evaluation.trained_run import SPLITS, TrainedRun, columns


def accuracy_under_attack(
    model: Classifier, x: Tensor, y: Tensor, attack: AttackSpec | None, eps: float, seed: int
) -> float:
    """Percent correct after ``attack`` at ``eps``; clean when there is no attack or eps is 0."""
    points = x if attack is None or eps == 0 else craft(model, x, y, attack, eps, seed=seed)
    return percent(correctly_classified(model, points, y))


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
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of each split; None for all.
    """
    radius = run.attack_eps(eps)
    rows: list[dict[str, Any]] = []
    for split in SPLITS:
        x, y = run.subset(split, samples)
        value = accuracy_under_attack(run.model, x, y, attack, radius, run.seed)
        shared = columns(attack, radius, split, len(y))
        rows.append({"metric": f"robust_{split}_accuracy", "value": value, "unit": "percent", **shared})
    gap = {"metric": "generalization_gap", "value": rows[0]["value"] - rows[1]["value"], "unit": "percentage_points"}
    return [*rows, gap | columns(attack, radius, None, None)]
