"""The log of every epoch: columns of history.csv as rows, and the wall time of training. Cost: none."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from robustscape.errors import unknown_name
from robustscape.storage.records import check_recorded

if TYPE_CHECKING:
    from robustscape.evaluation.trained_run import TrainedRun


def history(
    run: TrainedRun, *, columns: list[str] | None = None, units: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return one row per epoch and column.

    Args:
        run: the trained run.
        columns: of history.csv (losses in nats, accuracies in percent, the recipe's probes); ``seconds``: wall time of training
            up to the end of the epoch, probes aside; ``running_train_accuracy``: 100 - train_error, of the updates' own passes on
            attacked batches (and at perturbed weights, where the optimizer has those); None: the first two.
        units: unit by column, for columns whose unit is not known.

    Returns:
        Rows with epoch, metric (the column), value, unit. A probe has no row for epochs at which it was not measured.

    Raises:
        ConfigError: the run has no such column.
    """
    table = pd.read_csv(check_recorded(run.path / "history.csv"))
    seconds = json.loads((run.path / "run.json").read_text(encoding="utf-8"))["epoch_seconds"]
    table["seconds"] = list(itertools.accumulate(seconds))
    if "train_error" in table:
        table["running_train_accuracy"] = 100.0 - table["train_error"]
    percentages = {"train_error": "percent", "running_train_accuracy": "percent"}
    known = {**percentages, "lr": "1", "eps": "1", "train_loss": "nats", "seconds": "seconds", **(units or {})}
    wanted = columns or [column for column in table.columns if column not in ("epoch", "running_train_accuracy")]
    for column in wanted:
        if column not in table:
            raise unknown_name("column of history.csv", column, list(table.columns))
    return [
        {"epoch": int(row["epoch"]), "metric": column, "value": float(row[column]), "unit": unit_of(run, column, known)}
        for _, row in table.iterrows()
        for column in wanted
        if pd.notna(row[column])
    ]


def unit_of(run: TrainedRun, column: str, known: dict[str, str]) -> str:
    """Return the unit of a column: that of ``known``, "percent" for the probe and the trace that are percentages, else "1"."""
    if column in known:
        return known[column]
    recipe = run.config["recipe"]
    named = {**recipe["probes"], **recipe["traces"]}.get(column, {}).get("name")
    return "percent" if named in ("accuracy", "error") else "1"
