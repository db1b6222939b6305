"""What momentum adds to test accuracy: the numbers in the text of kim2023 section 4.4.2. Cost: a forward pass per run."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.logs.history import diverged_epoch
from robustscape.evaluation.trained_run import TrainedRun


def accuracy_gain(
    runs: list[TrainedRun],
    *,
    low: float,
    high: float,
    metric: str = "accuracy_gain",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return the accuracy at momentum ``high`` minus that at momentum ``low`` (percentage points), one row per seed.

    Runs are paired within data set, architecture, method, rho, batch size and seed; columns momentum_from and momentum_to. The
    gain is NaN, and ``flag_diverged`` true, where one of the two diverged.

    Args:
        runs: trained runs with several values of momentum, of which two are used.
        low: momentum without the gain.
        high: momentum with it.
        metric: of the rows; what a work prints may be a bound.
        samples: first test samples; None for all.
    """
    accuracies: dict[tuple[Any, ...], dict[float, float]] = defaultdict(dict)
    for run in runs:
        trained = optimizer_columns(run)
        momentum = trained["momentum"] or 0.0
        if momentum in (low, high):
            names = run.names
            key = (names["dataset"], names["architecture"], trained["method"], trained["rho"], trained["batch_size"])
            value = accuracy_under_attack(run.model, *run.subset("test", samples), None, 0.0, run.seed)
            accuracies[(*key, run.seed)][momentum] = value if diverged_epoch(run) is None else math.nan
    columns = ("dataset", "architecture", "method", "rho", "batch_size", "seed")
    return [
        {
            **dict(zip(columns, key, strict=True)),
            "momentum_from": low,
            "momentum_to": high,
            "metric": metric,
            "value": by_momentum[high] - by_momentum[low],
            "flag_diverged": math.isnan(by_momentum[high] - by_momentum[low]),
            "unit": "percentage_points",
        }
        for key, by_momentum in accuracies.items()
        if len(by_momentum) == 2
    ]
