"""The gate of a scale on the health of runs: which rows of an item are of nets that are not trained. Imports no torch.

Thresholds are shares of the way from chance, what a constant answer reaches, to perfection, so that they mean the same with 2,
10 and 100 classes: an accuracy of 55 % is nothing for two classes and much for a hundred. A threshold enters items only, so a
change of it trains and measures nothing again.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.errors import CorruptFile
from robustscape.storage.records import check_recorded
from robustscape.storage.run_files import HEALTH

if TYPE_CHECKING:
    import pandas as pd

    from robustscape.config.experiment import Run
    from robustscape.config.scales import HealthThresholds
    from robustscape.pipeline.plan import Plan, Table

#: Columns of a row that may name the run it is about.
_NAMING = ("dataset", "architecture", "recipe", "eps", "seed")


def shortfalls(health: Mapping[str, Any], thresholds: HealthThresholds) -> list[str]:
    """Return in what a run falls short of the thresholds, as ``clean accuracy 31.0 % < 46.0 %``; empty if it is trained.

    Args:
        health: content of the run's ``health.json``.
        thresholds: those of the scale.
    """
    found = ["it diverged"] if health["diverged"] else []
    chance = 100.0 / health["classes"]
    for name, share in (("clean", thresholds.clean), ("robust", thresholds.robust)):
        value = health[f"{name}_accuracy"]
        if share is not None and value is not None:
            least = chance + share * (100.0 - chance)
            if not value >= least:
                found.append(f"{name} accuracy {value:.1f} % < {least:.1f} %")
    loss = health["loss_over_chance"]
    if thresholds.loss is not None and loss is None:
        found.append("loss not finite")
    # A constant answer costs ln C, or a little more where it prefers some classes. Half as far beyond chance as the threshold
    # is below, a net is sure, and wrong in places, as its accuracies show.
    elif thresholds.loss is not None and thresholds.loss < loss <= 1 + (1 - thresholds.loss) / 2:
        found.append(f"loss {loss:.2f} of chance > {thresholds.loss:g}")
    return found


@functools.lru_cache(maxsize=4096)
def _read_health(path: Path, modified: int) -> dict[str, Any]:
    try:
        content = json.loads(check_recorded(path).read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"classes", "diverged", "loss_over_chance"} <= set(content):
        raise CorruptFile(f"{path} is not the health of a run; delete the folder and train the run again.")
    return content


def read_run_health(plan: Plan, run: Run) -> dict[str, Any]:
    """Return the content of a run's ``health.json``.

    Raises:
        CorruptFile: the file is damaged, or was edited.
    """
    path = plan.run_folder(run) / HEALTH
    return _read_health(path, path.stat().st_mtime_ns)


def run_shortfalls(plan: Plan, run: Run) -> list[str]:
    """Return in what a run falls short of its scale's thresholds.

    Raises:
        CorruptFile: the file is damaged, or was edited.
    """
    return shortfalls(read_run_health(plan, run), plan.experiment.scale.health)


def with_health_flag(plan: Plan, table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows with ``flag_under_trained`` (0 or 1) and, where it is 1, ``health``: which runs, and why.

    A row is about the runs of the table that agree with it in the columns that name runs: one run for a measurement; for a
    comparison, all runs of the group that the row does not tell apart. It is flagged if any of them is under-trained.

    Args:
        plan: of the experiment.
        table: whose runs they are.
        rows: as they were measured, under our names.
    """
    if not table.runs:
        return rows
    short = {planned.run: run_shortfalls(plan, planned.run) for planned in table.runs}
    reasons = {run: f"{run.key}: {', '.join(missing)}" for run, missing in short.items() if missing}
    if not reasons:
        return rows.assign(flag_under_trained=0)
    columns = [column for column in _NAMING if column in rows]
    texts: dict[tuple[Any, ...], str] = {}
    keys = list(zip(*(rows[column] for column in columns), strict=True)) if columns else [()] * len(rows)
    for key in dict.fromkeys(keys):
        about = [run for run in short if _is_about(dict(zip(columns, key, strict=True)), run)] or list(short)
        texts[key] = "; ".join(reasons[run] for run in about if run in reasons)
    found = [texts[key] for key in keys]
    return rows.assign(flag_under_trained=[int(bool(text)) for text in found], health=[text or None for text in found])


def _is_about(row: Mapping[str, Any], run: Run) -> bool:
    """Return whether a row's columns name a run; an empty one says nothing."""
    return all(value != value or value is None or value == getattr(run, column) for column, value in row.items())
