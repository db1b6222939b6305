"""Training time of several runs, also as a ratio to those of a method (kim2023 tables 2.1, 2.2 and 3.6).

Wall times of the epochs, probes aside, as recorded in run.json; a run counts by its median epoch, so that one slow minute of a
shared machine does not matter. The only log that differs between repetitions of the same training. Cost: none.
"""

from __future__ import annotations

import json
import math
import statistics
from typing import Annotated, Any

from pydantic import Field

from robustscape.errors import UserError
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.trained_run import TrainedRun


def training_time(
    runs: list[TrainedRun], *, reference: Annotated[list[str], Field(min_length=1)]
) -> list[dict[str, Any]]:
    """Return, per run, train_time (hour), seconds_per_epoch, time_per_iteration (second), and time_ratio to ``reference``.

    Args:
        runs: trained runs.
        reference: names of recipes that train alike, such as one with probes and one without; the mean over their runs has
            the ratio 1.

    Raises:
        UserError: no run has one of these recipes.
    """
    seconds = {
        id(run): json.loads((run.path / "run.json").read_text(encoding="utf-8"))["epoch_seconds"] for run in runs
    }
    epoch = {key: statistics.median(values) for key, values in seconds.items()}
    if missing := sorted({*reference} - {run.config["recipe"]["name"] for run in runs}):
        raise UserError(f"no run of the comparison has the recipe '{missing[0]}', which times are to be relative to.")
    known = [epoch[id(run)] for run in runs if run.config["recipe"]["name"] in reference]
    rows: list[dict[str, Any]] = []
    for run in runs:
        recipe = run.config["recipe"]
        updates = math.ceil(len(run.train.y) / (recipe["batch_size"] or len(run.train.y)))
        values = {
            "train_time": (sum(seconds[id(run)]) / 3600, "hour"),
            "seconds_per_epoch": (epoch[id(run)], "seconds"),
            "time_per_iteration": (epoch[id(run)] / updates, "second"),
            "time_ratio": (epoch[id(run)] / statistics.fmean(known), "1"),
        }
        shared = {
            **run.names,
            **method_columns(run),
            "epochs": len(seconds[id(run)]),
            "reference": ", ".join(reference),
        }
        rows += [{**shared, "metric": metric, "value": value, "unit": unit} for metric, (value, unit) in values.items()]
    return rows
