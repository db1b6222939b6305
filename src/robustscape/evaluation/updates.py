"""What a run recorded at single updates: columns of its updates.csv as rows. Nothing is measured here. Cost: none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
from pydantic import Field

from robustscape.errors import MissingData, unknown
from robustscape.evaluation.history import unit_of

if TYPE_CHECKING:
    from robustscape.runs import TrainedRun


def updates(
    run: TrainedRun,
    *,
    columns: list[str] | None = None,
    smooth: Annotated[int, Field(ge=1)] = 1,
) -> list[dict[str, Any]]:
    """A row an update and column.

    Args:
        run: the trained run; its recipe must have ``traces``.
        columns: of updates.csv; None: all of them.
        smooth: running mean over so many updates, within the recorded ones that follow each other.

    Returns:
        Rows with update (counted from 1), part (``first`` or ``last``: which stretch of training), metric, value, unit.

    Raises:
        MissingData: the run recorded no updates.
        ConfigError: it recorded no such column.
    """
    path = run.path / "updates.csv"
    if not path.exists():
        raise MissingData(f"{path} is not there; give the recipe 'traces'.")
    table = pd.read_csv(path)
    stretch = (table["update"].diff().fillna(1) != 1).cumsum()
    rows = []
    for column in columns or [column for column in table.columns if column not in ("update", "epoch")]:
        if column not in table:
            raise unknown("column of updates.csv", column, list(table.columns))
        values = table[column].groupby(stretch).rolling(smooth, min_periods=1).mean().droplevel(0)
        unit = unit_of(run, column, {})
        rows += [
            {
                "update": int(update),
                "part": "first" if number == 0 else "last",
                "metric": column,
                "value": float(value),
                "unit": unit,
            }
            for update, number, value in zip(table["update"], stretch, values, strict=True)
        ]
    return rows
