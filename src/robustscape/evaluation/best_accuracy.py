"""The better of the settings a method was tried with: kim2023 table 5.2, last column."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._trained_by import trained_by
from robustscape.evaluation.harness.craft import correctly_classified, percent
from robustscape.evaluation.trained_run import TrainedRun


def best_accuracy(
    runs: list[TrainedRun], *, samples: Annotated[int, Field(ge=1)] | None = None
) -> list[dict[str, Any]]:
    """Rows test_accuracy, percent, one a seed: of each data set, architecture and method the recipe with the best mean.

    Args:
        runs: runs of several recipes a method.
        samples: first test samples; None for all.
    """
    found: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        of, method = run.names, trained_by(run)["method"]
        value = percent(correctly_classified(run.model, *run.subset("test", samples)))
        row = {**of, "method": method, "metric": "test_accuracy", "value": value, "unit": "percent"}
        found[of["dataset"], of["architecture"], method][of["recipe"]].append(row)
    return [
        row
        for recipes in found.values()
        for row in max(recipes.values(), key=lambda rows: fmean(row["value"] for row in rows))
    ]
