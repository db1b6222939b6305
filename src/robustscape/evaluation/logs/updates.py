"""The log of single updates: columns of updates.csv as rows. Cost: none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
from pydantic import Field

from robustscape.errors import MissingData, unknown_name
from robustscape.evaluation.logs.history import diverged_epoch, unit_of
from robustscape.storage.records import check_recorded

if TYPE_CHECKING:
    from robustscape.evaluation.trained_run import TrainedRun


def updates(
    run: TrainedRun,
    *,
    columns: list[str] | None = None,
    smooth: Annotated[int, Field(ge=1)] = 1,
) -> list[dict[str, Any]]:
    """Return one row per update and column.

    Args:
        run: the trained run; its recipe must have ``traces``.
        columns: of updates.csv; None: all of them.
        smooth: number of updates of a running mean, within a window.

    Returns:
        Rows with update (counted from 1), window (``first`` or ``last`` part of training; an update in both has two
        rows), metric, value, unit. Values are NaN from the epoch in which a run diverged on.

    Raises:
        MissingData: the run recorded no updates.
        ConfigError: it recorded no such column.
    """
    path = run.path / "updates.csv"
    if not path.exists():
        raise MissingData(f"{path} is not there; give the recipe 'traces'.")
    wanted = run.config["recipe"]["traced_updates"]
    table, lost = _with_lost_updates(run, pd.read_csv(check_recorded(path)))
    total = int(table["update"].max())
    windows = {"first": table[table["update"] <= (wanted["first"] or total)]}
    if wanted["last"]:
        windows["last"] = table[table["update"] > total - wanted["last"]]
    rows = []
    for column in columns or [column for column in table.columns if column not in ("update", "epoch")]:
        if column not in table:
            raise unknown_name("column of updates.csv", column, list(table.columns))
        unit = unit_of(run, column, {})
        for window, part in windows.items():
            values = part[column].rolling(smooth, min_periods=1).mean().mask(lost[part.index])
            rows += [
                {"update": int(update), "window": window, "metric": column, "value": float(value), "unit": unit}
                for update, value in zip(part["update"], values, strict=True)
            ]
    return rows


def _with_lost_updates(run: TrainedRun, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return updates.csv with the updates that a run lacks because it diverged, and which of all are lost by that.

    As in history.csv, those of the epoch in which it diverged are lost, too.
    """
    diverged = diverged_epoch(run)
    if diverged is None:
        return table, pd.Series(False, index=table.index)
    recipe, samples = run.config["recipe"], len(run.train.y)
    steps = math.ceil(samples / (recipe["batch_size"] or samples))
    total, traced = recipe["epochs"] * steps, recipe["traced_updates"]
    first = total if traced["first"] is None else traced["first"]
    recorded = [update for update in range(1, total + 1) if update <= first or update > total - traced["last"]]
    table = table.set_index("update").reindex(pd.Index(recorded, name="update")).reset_index()
    return table, (table["update"] - 1) // steps + 1 >= diverged
