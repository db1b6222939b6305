"""Accuracy by leaf and by meta-class, clean and under untargeted attacks: ma2025 section 5.3, tables 5.2 and 5.7.

    P(meta-class right | leaf class wrong)

tells how many errors stay within the meta-class. Cost: a forward pass of the samples, and the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import Suite
from robustscape.evaluation._meta_classes import CLEAN, accuracy_rows, leaf_superclasses, logits_of
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def meta_class_accuracy(
    run: TrainedRun,
    *,
    attacks: Suite,
    eps: float,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows leaf_accuracy, meta_accuracy, meta_accuracy_sum and p_meta_correct_given_leaf_wrong (percent).

    The column ``attack`` is ``clean`` or the attack with its steps, such as pgd20. ``meta_accuracy`` goes by the meta-class of
    the predicted leaf class, ``meta_accuracy_sum`` by the meta-class of highest summed probability. The clean row
    chance_given_leaf_wrong is what the share of right meta-classes would be if leaf classes were mistaken uniformly.

    Args:
        run: a model of all leaf classes of a data set with meta-classes, and its data.
        attacks: each by itself, untargeted.
        eps: their perturbation budget.
        samples: first test samples; None for all.

    Raises:
        ConfigError: the data set has no meta-classes, or the run was trained on a part of it.
    """
    superclass = leaf_superclasses(run)
    x, y = run.subset("test", samples)
    shared = {"network": "flat", "samples": len(y), "split": "test"}
    found = [*accuracy_rows(logits_of(run.model, x, y), y, superclass), _chance_row(y, superclass)]
    rows = [{**shared, "attack": CLEAN, **row} for row in found]
    for _, spec in attacks.attacks:
        points = craft(run.model, x, y, spec, eps, seed=run.seed)
        found = accuracy_rows(logits_of(run.model, points, y), y, superclass)
        protocol = protocol_columns(spec, eps, "test", len(y))
        named = {"attack": f"{spec.attack}{protocol['steps'] or ''}"}
        rows += [{**shared, **protocol, **named, **row} for row in found]
    return rows


def _chance_row(y: Tensor, superclass: list[int]) -> dict[str, Any]:
    """Return the row of the chance that another leaf class, drawn uniformly, is in the meta-class of the label (percent)."""
    sizes = torch.tensor(superclass).bincount()[torch.tensor(superclass)]
    value = 100.0 * ((sizes - 1).double() / (len(superclass) - 1))[y.cpu()].mean().item()
    return {"metric": "chance_given_leaf_wrong", "value": value, "unit": "percent"}
