"""Accuracy on both splits, clean or under one attack, and the gap between the splits.

yamada2021 section 5: robust train and test accuracy under the evaluation attack (the same type and eps as in training; clean
at eps = 0) and the generalisation gap, train minus test. kim2023 chapters 4 and 5: clean accuracy of nets that differ in
their optimizer. Cost: the attack and a forward pass per split.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import SPLITS, TrainedRun, protocol_columns


def accuracy_under_attack(
    model: Classifier, x: Tensor, y: Tensor, attack: AttackSpec | None, eps: float, seed: int
) -> float:
    """Return the percentage of inputs classified correctly after ``attack``; clean accuracy without an attack or at eps 0.

    Args:
        model: logits (B, C) from inputs (B, ...); asked in eval mode.
        x: clean inputs (N, ...).
        y: labels (N,).
        attack: None: none.
        eps: its perturbation budget.
        seed: of its random streams.
    """
    points = x if attack is None or eps == 0 else craft(model, x, y, attack, eps, seed=seed)
    return percent_true_fp32(correctly_classified(model, points, y))


def accuracy(
    run: TrainedRun,
    *,
    attack: AttackSpec | None = None,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return one row per split: train_accuracy and test_accuracy, or robust_train_accuracy and robust_test_accuracy (percent).

    Clean rows have the columns of the run's optimizer (method, rho, n_ascent_train, momentum, batch_size). Rows under an attack
    have those of its protocol, and a third row is generalization_gap, train minus test (percentage points).

    Args:
        run: the trained model and its data.
        attack: evaluation attack, with the run's seed; None: clean accuracy.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of each split; None for all.
    """
    attack_eps = run.attack_eps(eps)
    rows: list[dict[str, Any]] = []
    for split in SPLITS:
        x, y = run.subset(split, samples)
        measured = {"value": accuracy_under_attack(run.model, x, y, attack, attack_eps, run.seed), "unit": "percent"}
        if attack is None:
            clean = {**optimizer_columns(run), "samples": len(y), "metric": f"{split}_accuracy"}
            rows.append({**clean, **measured})
        else:
            protocol = protocol_columns(attack, attack_eps, split, len(y))
            rows.append({"metric": f"robust_{split}_accuracy", **measured, **protocol})
    if attack is not None:
        gap = rows[0]["value"] - rows[1]["value"]
        protocol = protocol_columns(attack, attack_eps, None, None)
        rows.append({"metric": "generalization_gap", "value": gap, "unit": "percentage_points", **protocol})
    return rows
