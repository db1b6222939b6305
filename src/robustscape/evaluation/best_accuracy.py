"""Test accuracy of each method's best setting: kim2023 table 5.2, last column. Cost: a forward pass per run."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.trained_run import TrainedRun


def best_accuracy(
    runs: list[TrainedRun], *, samples: Annotated[int, Field(ge=1)] | None = None
) -> list[dict[str, Any]]:
    """Return rows test_accuracy (percent), one per seed, of each method's best recipe.

    The best recipe has the highest mean over seeds, per data set and architecture.

    Args:
        runs: trained runs with several recipes per method.
        samples: first test samples; None for all.
    """
    rows_by_recipe: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        names, method = run.names, optimizer_columns(run)["method"]
        value = accuracy_under_attack(run.model, *run.subset("test", samples), None, 0.0, run.seed)
        row = {**names, "method": method, "metric": "test_accuracy", "value": value, "unit": "percent"}
        rows_by_recipe[names["dataset"], names["architecture"], method][names["recipe"]].append(row)
    return [
        row
        for recipes in rows_by_recipe.values()
        for row in max(recipes.values(), key=lambda rows: fmean(row["value"] for row in rows))
    ]
