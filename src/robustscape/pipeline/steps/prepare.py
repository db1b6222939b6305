"""The step ``prepare``: a data set's tensors and card."""

from __future__ import annotations

from pathlib import Path

from robustscape import data
from robustscape.errors import unknown_name
from robustscape.pipeline.plan import Plan


def prepare_dataset(plan: Plan, name: str, downloads: Path) -> None:
    """Write a data set's tensors and card.

    Raises:
        ConfigError: the configuration has no data set of that name.
        MissingData: its raw files are missing and cannot be downloaded.
    """
    if name not in plan.experiment.datasets:
        raise unknown_name("data set", name, plan.experiment.datasets)
    data.prepare_dataset(name, plan.experiment.datasets[name], plan.data_folder(name), downloads)
