"""What a classifier of leaf classes says of meta-classes, in the numbers of ma2025 chapter 5."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, device_of
from robustscape.data.hierarchies import Hierarchy, meta_class_of_each
from robustscape.errors import ConfigError
from robustscape.evaluation.harness.craft import attacked_form, batches, default_batch_size
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun

#: The columns ``attack_family`` and ``attack`` of rows without an attack; the latter where only attacked samples count.
CLEAN, CLEAN_OF_ATTACKED = "clean", "clean_of_attacked"


def hierarchy_of(run: TrainedRun) -> tuple[Hierarchy, Any]:
    """Return the hierarchy of a run's data set and which part of it the run was trained on (see ``class_hierarchy``).

    Raises:
        ConfigError: its data set has none.
    """
    parameters = run.config["dataset"].get("parameters", {})
    if not {"classes", "part"} <= set(parameters):
        raise ConfigError(
            f"data set '{run.config['dataset']['name']}' has no meta-classes; those of 'class_hierarchy' have "
            "(config/datasets.yaml)."
        )
    return parameters["classes"], parameters["part"]


def leaf_superclasses(run: TrainedRun) -> list[int]:
    """Return the number of the meta-class of each label of a run that was trained on all leaf classes.

    Raises:
        ConfigError: it was trained on something else.
    """
    hierarchy, part = hierarchy_of(run)
    if part != "leaves":
        raise ConfigError(f"data set '{run.config['dataset']['name']}' has the part '{part}', not all leaf classes.")
    return meta_class_of_each(hierarchy)


def fixed_places(count: int, size: int | None) -> Tensor:
    """Return places of ``size`` of ``count`` samples, int64, rising: drawn once and for all, the same for every run and attack.

    The random numbers are the raw stream of PCG64, which NumPy guarantees not to change. None, or no more samples than that: all.
    """
    if size is None or size >= count:
        return torch.arange(count)
    drawn = np.argsort(np.random.PCG64(0).random_raw(count), kind="stable")[:size]
    return torch.from_numpy(np.sort(drawn))


def logits_of(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Return the logits (N, C) of inputs (N, ...) in eval mode, on their device. Cost: 1 forward pass.

    Raises:
        AttackError: one is NaN or infinite.
    """
    judge = attacked_form(model, x, y, "fp32")
    device = device_of(judge, x)
    found = [
        judge.confirm(x[batch].to(device)).to(x.device)
        for batch in batches(torch.arange(len(x)), default_batch_size(model, x))
    ]
    judge.refuse_nan("the evaluation")
    return torch.cat(found)


def meta_right(logits: Tensor, y: Tensor, superclass: list[int]) -> Tensor:
    """Return whether the predicted leaf class is in the meta-class of the label, bool (N,)."""
    members = torch.tensor(superclass, device=logits.device)
    return members[logits.argmax(1)] == members[y]


def summed_meta_right(logits: Tensor, y: Tensor, superclass: list[int]) -> Tensor:
    """Return whether the meta-class of highest summed probability is that of the label, bool (N,)."""
    members = torch.tensor(superclass, device=logits.device)
    summed = logits.new_zeros(len(logits), max(superclass) + 1).index_add(1, members, logits.softmax(1))
    return summed.argmax(1) == members[y]


def accuracy_rows(logits: Tensor, y: Tensor, superclass: list[int]) -> list[dict[str, Any]]:
    """Return rows leaf_accuracy, meta_accuracy, meta_accuracy_sum and p_meta_correct_given_leaf_wrong (percent).

    The last is the share of samples of right meta-class among those of wrong leaf class, NaN if there are none of these. With the
    first two it satisfies meta = leaf + (1 - leaf) p, all as shares.

    Args:
        logits: (N, C).
        y: leaf labels (N,).
        superclass: the meta-class of each label.
    """
    leaf, meta = logits.argmax(1) == y, meta_right(logits, y, superclass)
    values = {
        "leaf_accuracy": percent_true(leaf),
        "meta_accuracy": percent_true(meta),
        "meta_accuracy_sum": percent_true(summed_meta_right(logits, y, superclass)),
        "p_meta_correct_given_leaf_wrong": percent_true(meta[~leaf]),
    }
    share = values["p_meta_correct_given_leaf_wrong"] if not leaf.all() else 0.0
    implied = values["leaf_accuracy"] + (100.0 - values["leaf_accuracy"]) * share / 100.0
    if abs(values["meta_accuracy"] - implied) > 1e-6:
        raise ConfigError(
            "a leaf class that is right lies in a wrong meta-class: the hierarchy is not one of disjoint classes."
        )
    return [{"metric": metric, "value": value, "unit": "percent"} for metric, value in values.items()]


def chance_row(y: Tensor, superclass: list[int]) -> dict[str, Any]:
    """Return the row of the chance that another leaf class, drawn uniformly, is in the meta-class of the label (percent)."""
    sizes = torch.tensor(superclass).bincount()[torch.tensor(superclass)]
    value = 100.0 * ((sizes - 1).double() / (len(superclass) - 1))[y.cpu()].mean().item()
    return {"metric": "chance_given_leaf_wrong", "value": value, "unit": "percent"}
