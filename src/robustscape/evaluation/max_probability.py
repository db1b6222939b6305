"""The mean of the largest class probability on clean, noisy and attacked inputs: ma2025 table 3.1. Cost: attacks, passes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, predict
from robustscape.config.attacks import Suite
from robustscape.evaluation.harness.craft import BATCH_SIZE, craft
from robustscape.evaluation.method_names import trained_method_columns
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def max_probability(
    run: TrainedRun,
    *,
    attacks: Suite,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows mean_max_softmax_probability (percent) over test samples, with ``input``: clean, or the attack's name.

    Args:
        run: the trained model and its data.
        attacks: each makes inputs of its own.
        eps: their perturbation budget; "run" for the run's own.
        samples: first test samples; None for all.
    """
    (x, y), budget = run.subset("test", samples), run.attack_eps(eps)
    rows: list[dict[str, Any]] = [
        {"input": "clean", "value": mean_max_probability(run.model, x), "samples": len(y), "attack_eps": 0.0}
    ]
    for name, spec in attacks.attacks:
        points = craft(run.model, x, y, spec, budget, seed=run.seed)
        protocol = protocol_columns(spec, budget, "test", len(y))
        rows.append({**protocol, "input": name, "value": mean_max_probability(run.model, points)})
    shared = {**trained_method_columns(run), "metric": "mean_max_softmax_probability", "unit": "percent"}
    return [{**shared, **row} for row in rows]


def mean_max_probability(model: Classifier, x: Tensor) -> float:
    """Return 100 times the mean over inputs (N, ...) of max_i p(x)_i, in eval mode; probabilities in double precision."""
    net = frozen_copy(model, x)
    largest = [predict(net, batch).double().softmax(1).amax(1) for batch in x.split(BATCH_SIZE)]
    return 100.0 * torch.cat(largest).mean().item()
