"""Error and loss of both splits over training, as a run logged them (liu2020 figure 1). Cost: none."""

from __future__ import annotations

from typing import Any

import pandas as pd

from robustscape.errors import unknown_name
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.storage.records import check_recorded

#: metric, split, column of history.csv, unit
COLUMNS = (
    ("error", "train", "train_error", "percent"),
    ("error", "test", "test_accuracy", "percent"),
    ("loss", "train", "train_loss", "nats"),
    ("loss", "test", "test_loss", "nats"),
)


def training_curves(run: TrainedRun) -> list[dict[str, Any]]:
    """Return rows error (percent) and loss (nats) by epoch and split, and generalization_gap: the last test minus train error.

    As in the authors' code, training errors and losses are means over the epoch's updates, in training mode and on the batches
    as they were trained on (augmented, attacked); test errors and losses are measured after the epoch, in eval mode.

    Args:
        run: the trained run; its recipe has the method's parameter ``log_error`` and the probes test_accuracy and test_loss.

    Raises:
        ConfigError: the run logged no such column.
    """
    table = pd.read_csv(check_recorded(run.path / "history.csv"))
    rows: list[dict[str, Any]] = []
    last: dict[str, float] = {}
    for metric, split, column, unit in COLUMNS:
        if column not in table:
            raise unknown_name("column of history.csv", column, list(table.columns))
        for epoch, value in table[["epoch", column]].dropna().itertuples(index=False):
            number = 100.0 - value if column.endswith("accuracy") else float(value)
            rows.append({"epoch": int(epoch), "split": split, "metric": metric, "value": number, "unit": unit})
            if metric == "error":
                last[split] = number
    gap = {"epoch": None, "split": None, "metric": "generalization_gap", "value": last["test"] - last["train"]}
    return [*rows, {**gap, "unit": "percentage_points"}]
