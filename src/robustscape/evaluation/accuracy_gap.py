"""How much the momentum matters: kim2023 table 4.1, last column."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._trained_by import trained_by
from robustscape.evaluation.harness.craft import correctly_classified, percent
from robustscape.evaluation.trained_run import TrainedRun


def accuracy_gap(runs: list[TrainedRun], *, samples: Annotated[int, Field(ge=1)] | None = None) -> list[dict[str, Any]]:
    """Rows accuracy_gap_over_momentum, percentage points: the best less the worst of the accuracies, means over seeds.

    One row for each data set, architecture, method and radius; its column momentum says "max-min", as the table's head.

    Args:
        runs: runs of several momenta.
        samples: first test samples; None for all.
    """
    found: dict[tuple[Any, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        of, how = run.names, trained_by(run)
        value = percent(correctly_classified(run.model, *run.subset("test", samples)))
        found[of["dataset"], of["architecture"], how["method"], how["rho"]][how["momentum"]].append(value)
    rows = []
    for (dataset, architecture, method, rho), accuracies in found.items():
        means = [fmean(values) for values in accuracies.values()]
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
