"""Where training ended: columns of the last epoch of history.csv, as rows. Cost: none."""

from __future__ import annotations

from typing import Any

from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.logs.history import history
from robustscape.evaluation.trained_run import TrainedRun


def last_epoch(run: TrainedRun, *, columns: dict[str, str]) -> list[dict[str, Any]]:
    """Return one row per column: its last value in history.csv, with the columns of the run's optimizer.

    It is NaN if the run diverged before the recipe's last epoch.

    Args:
        run: the trained run.
        columns: column of history.csv -> metric of its row.

    Raises:
        ConfigError: the run has no such column.
    """
    last = {row["metric"]: row for row in history(run, columns=list(columns))}  # a later epoch replaces an earlier one
    return [
        {**optimizer_columns(run), **last[column], "metric": metric}
        for column, metric in columns.items()
        if column in last
    ]
