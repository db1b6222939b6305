"""The influence of momentum on test accuracy: kim2023 table 4.1, last column. Cost: a forward pass per run."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.trained_run import TrainedRun


def accuracy_gap(runs: list[TrainedRun], *, samples: Annotated[int, Field(ge=1)] | None = None) -> list[dict[str, Any]]:
    """Return rows accuracy_gap_over_momentum (percentage points): the highest minus the lowest accuracy, each a mean over seeds.

    One row per data set, architecture, method and rho; its column ``momentum`` is "max-min", as in the table's head.

    Args:
        runs: trained runs with several values of momentum.
        samples: first test samples; None for all.
    """
    accuracies: dict[tuple[Any, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        names, trained = run.names, optimizer_columns(run)
        value = accuracy_under_attack(run.model, *run.subset("test", samples), None, 0.0, run.seed)
        setting = (names["dataset"], names["architecture"], trained["method"], trained["rho"])
        accuracies[setting][trained["momentum"]].append(value)
    rows = []
    for (dataset, architecture, method, rho), by_momentum in accuracies.items():
        means = [fmean(values) for values in by_momentum.values()]
        rows.append(
            {
                "dataset": dataset,
                "architecture": architecture,
                "method": method,
                "rho": rho,
                "momentum": "max-min",
                "metric": "accuracy_gap_over_momentum",
                "value": max(means) - min(means),
                "unit": "percentage_points",
            }
        )
    return rows
