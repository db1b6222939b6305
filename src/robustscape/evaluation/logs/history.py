"""The log of every epoch: columns of history.csv as rows, and the wall time of training. Cost: none."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
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
        Rows with epoch, metric (the column), value, unit. A probe has no row for epochs at which it was not measured. From the
        epoch in which a run diverged to the recipe's last, values are NaN.

    Raises:
        ConfigError: the run has no such column.
    """
    table = read_history(run, [column for column in columns or [] if column != "seconds"])
    record, diverged = json.loads((run.path / "run.json").read_text(encoding="utf-8")), diverged_epoch(run)
    ends = list(itertools.accumulate(record["epoch_seconds"]))
    if diverged is not None:  # the time of the epoch in which it diverged is recorded, too
        ends = ends[: diverged - 1] + [float("nan")] * (len(table) - diverged + 1)
    table["seconds"] = ends
    percentages = {"train_error": "percent", "running_train_accuracy": "percent"}
    known = {**percentages, "lr": "1", "eps": "1", "train_loss": "nats", "seconds": "seconds", **(units or {})}
    wanted = columns or [column for column in table.columns if column not in ("epoch", "running_train_accuracy")]
    return [
        {"epoch": epoch, "metric": column, "value": float(row[column]), "unit": unit_of(run, column, known)}
        for epoch, row in zip(table["epoch"].tolist(), table.to_dict("records"), strict=True)
        for column in wanted
        if pd.notna(row[column]) or is_lost(run, column, epoch, diverged)
    ]


def diverged_epoch(run: TrainedRun) -> int | None:
    """Return the epoch, counted from 1, in which a run diverged (its recipe says to record that), or None."""
    record = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    epoch: int | None = record.get("diverged")
    return epoch


def read_history(run: TrainedRun, columns: Sequence[str]) -> pd.DataFrame:
    """Return history.csv with the column ``running_train_accuracy``, where it can be had; epochs that a run lacks are NaN.

    A run lacks those from the one in which it diverged to the recipe's last. Without them, means over seeds would be of the
    others alone, and the last number of the run one of an epoch before its end.

    Args:
        run: the trained run.
        columns: that the table must have.

    Raises:
        ConfigError: the run has no such column.
    """
    table, diverged = pd.read_csv(check_recorded(run.path / "history.csv")), diverged_epoch(run)
    if "train_error" in table:
        table["running_train_accuracy"] = 100.0 - table["train_error"]
    for column in columns:
        if column not in table and diverged == 1:  # what a method logs has no column before an epoch has ended
            table[column] = float("nan")
        if column not in table:
            raise unknown_name("column of history.csv", column, list(table.columns))
    if diverged is None:
        return table
    numbers = pd.RangeIndex(1, run.config["recipe"]["epochs"] + 1, name="epoch")
    return table.set_index("epoch").reindex(numbers).astype(float).reset_index()


def is_lost(run: TrainedRun, column: str, epoch: int, diverged: int | None) -> bool:
    """Return whether a column would have a number at an epoch if the run had not diverged before its end."""
    if diverged is None or epoch < diverged:
        return False
    recipe = run.config["recipe"]
    every: int = recipe["probes"].get(column, {}).get("every", 1)
    return epoch % every == 0 or epoch == recipe["epochs"]


def unit_of(run: TrainedRun, column: str, known: dict[str, str]) -> str:
    """Return the unit of a column: that of ``known``, "percent" for the probe and the trace that are percentages, else "1"."""
    if column in known:
        return known[column]
    recipe = run.config["recipe"]
    named = {**recipe["probes"], **recipe["traces"]}.get(column, {}).get("name")
    return "percent" if named in ("accuracy", "error") else "1"
