"""Summary of a run's recorded updates: the mean over each window, and the value at its end. Cost: none."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from robustscape.evaluation.logs.updates import updates
from robustscape.evaluation.trained_run import TrainedRun


def update_summary(run: TrainedRun, *, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return rows <column>_mean and <column>_end for each window, ``first`` and ``last``, with the number of its updates.

    Args:
        run: the trained run; its recipe must have ``traces``.
        columns: of updates.csv; None: all of them.

    Raises:
        MissingData: the run recorded no updates.
        ConfigError: it recorded no such column.
    """
    rows: list[dict[str, Any]] = []
    found = updates(run, columns=columns)
    for (column, window), members in itertools.groupby(found, key=lambda row: (row["metric"], row["window"])):
        part = list(members)
        values = [row["value"] for row in part]
        shared = {"window": window, "updates": len(part), "unit": part[0]["unit"]}
        rows.append({**shared, "metric": f"{column}_mean", "value": statistics.fmean(values)})
        rows.append({**shared, "metric": f"{column}_end", "value": values[-1]})
    return rows
