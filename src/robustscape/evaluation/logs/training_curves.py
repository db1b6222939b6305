"""Error and loss of both splits over training, as a run logged them (liu2020 figure 1). Cost: none."""

from __future__ import annotations

from typing import Any

import pandas as pd

from robustscape.evaluation.logs.history import diverged_epoch, is_lost, read_history
from robustscape.evaluation.trained_run import TrainedRun

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
    as they were trained on (augmented, attacked); test errors and losses are measured after the epoch, in eval mode. They are
    NaN from the epoch in which a run diverged on, and the gap with them.

    Args:
        run: the trained run; its recipe has the method's parameter ``log_error`` and the probes test_accuracy and test_loss.

    Raises:
        ConfigError: the run logged no such column.
    """
    table, diverged = read_history(run, [column for *_, column, _ in COLUMNS]), diverged_epoch(run)
    rows: list[dict[str, Any]] = []
    last: dict[str, float] = {}
    for metric, split, column, unit in COLUMNS:
        for epoch, value in zip(table["epoch"].tolist(), table[column].tolist(), strict=True):
            if pd.isna(value) and not is_lost(run, column, epoch, diverged):
                continue
            number = 100.0 - value if column.endswith("accuracy") else float(value)
            rows.append({"epoch": epoch, "split": split, "metric": metric, "value": number, "unit": unit})
            if metric == "error":
                last[split] = number
    gap = {"epoch": None, "split": None, "metric": "generalization_gap", "value": last["test"] - last["train"]}
    return [*rows, {**gap, "unit": "percentage_points"}]
