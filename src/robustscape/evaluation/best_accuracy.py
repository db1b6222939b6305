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
    runs: list[TrainedRun],
    *,
    reported: dict[str, dict[str, float]] = {},  # noqa: B006  (a schema; never changed)
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows test_accuracy (percent), one per seed, of each method's best recipe.

    The best recipe has the highest mean over seeds, per data set and architecture. Where the accuracy that a method's authors
    report is higher still, that is the row, with the recipe "reported" and no seed, as in the work's last column.

    Args:
        runs: trained runs with several recipes per method.
        reported: data set -> method -> accuracy in the method's own paper (percent); no stand-in has such a number.
        samples: first test samples; None for all.
    """
    rows_by_recipe: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        names, method = run.names, optimizer_columns(run)["method"]
        value = accuracy_under_attack(run.model, *run.subset("test", samples), None, 0.0, run.seed)
        row = {**names, "method": method, "metric": "test_accuracy", "value": value, "unit": "percent"}
        rows_by_recipe[names["dataset"], names["architecture"], method][names["recipe"]].append(row)
    found = []
    for (dataset, architecture, method), recipes in rows_by_recipe.items():
        best = max(recipes.values(), key=_mean_value)
        theirs = reported.get(dataset, {}).get(method)
        if theirs is not None and theirs > _mean_value(best):
            names = {"dataset": dataset, "architecture": architecture, "recipe": "reported", "method": method}
            # Nothing was reproduced: the row says so, and gets no difference from the printed number.
            best = [{**names, "metric": "test_accuracy", "value": theirs, "unit": "percent", "paper_protocol": False}]
        found += best
    return found


def _mean_value(rows: list[dict[str, Any]]) -> float:
    return fmean(row["value"] for row in rows)
