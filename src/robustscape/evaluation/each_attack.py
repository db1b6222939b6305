"""Accuracy under each of several attacks alone, and under all of them, sample by sample: ma2025 tables 3.2, 3.4 and 3.7 to 3.10.

In ``robust_suite`` an attack sees only what the ones before it have left; here each sees all samples, so that its row is its own,
and a sample is robust against all of them if it is against each. Cost: that of the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import frozen_copy
from robustscape.config.attacks import Suite
from robustscape.evaluation.attack_accuracies import CLEAN_OF_ATTACKED
from robustscape.evaluation.harness import flags
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.method_names import trained_method_columns
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns

#: The column ``attack`` of the accuracy against all attacks.
WORST_CASE = "worst_case"

#: Samples whose gradients are looked at for signs of masking.
FLAG_SAMPLES = 64


def each_attack(
    run: TrainedRun,
    *,
    suite: Suite,
    names: dict[str, str] = {},  # noqa: B006  (read from the syntax tree as a schema)
    eps: Literal["run"] | float = "run",
    rel_eps: Annotated[float, Field(gt=0)] = 1.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows accuracy (percent) with the attack's name as ``attack``: clean, each attack alone, ``WORST_CASE`` of all.

    Beside ``clean``, of all samples, ``clean_of_attacked`` is of those that the attacks see. Columns ``flag_...`` are signs of
    gradient masking on the first of them.

    Args:
        run: the trained model and its data.
        suite: the attacks.
        names: attack -> its name in the column ``attack``, the same at every scale; the others have their own.
        eps: perturbation budget; "run" for the run's own.
        rel_eps: factor on eps.
        samples: first test samples; None for all.
        attacked_samples: the first of them that attacks see; None for all.
    """
    budget = rel_eps * run.attack_eps(eps)
    return accuracy_rows(run, suite, names, budget, samples, attacked_samples)


def accuracy_rows(
    run: TrainedRun, suite: Suite, names: dict[str, str], eps: float, samples: int | None, attacked_samples: int | None
) -> list[dict[str, Any]]:
    """Return the rows of ``each_attack``; the arguments are the same, ``eps`` is the budget itself."""
    x, y = run.subset("test", samples)
    right = correctly_classified(run.model, x, y)
    columns = {**trained_method_columns(run), "attack_eps": eps, "split": "test", "model_mode": "eval"}
    shared = {**columns, "suite": suite.name, "metric": "accuracy", "unit": "percent"}
    rows = [{**shared, "attack": "clean", "value": percent_true_fp32(right), "samples": len(y)}]
    x, y, right = x[:attacked_samples], y[:attacked_samples], right[:attacked_samples]
    shared |= {"samples": len(y), **_masking_flags(run, x, y)}
    rows.append({**shared, "attack": CLEAN_OF_ATTACKED, "value": percent_true_fp32(right)})
    everywhere: Tensor = torch.ones_like(right)
    for name, spec in suite.attacks:
        robust = correctly_classified(run.model, craft(run.model, x, y, spec, eps, seed=run.seed), y)
        everywhere = everywhere & robust
        protocol = protocol_columns(spec, eps, "test", len(y))
        rows.append({**shared, **protocol, "attack": names.get(name, name), "value": percent_true_fp32(robust)})
    rows.append({**shared, "attack": WORST_CASE, "value": percent_true_fp32(everywhere & right)})
    return rows


def _masking_flags(run: TrainedRun, x: Tensor, y: Tensor) -> dict[str, float | bool]:
    """Signs of masking that the model shows at the first inputs; those of ``flags.of_model``."""
    seen = slice(FLAG_SAMPLES)
    return flags.of_model(frozen_copy(run.model, x[seen]), x[seen], y[seen])
