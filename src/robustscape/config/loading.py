"""The whole configuration: read, resolved for one scale, and checked."""

from __future__ import annotations

import functools
from pathlib import Path

from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import SuiteSpec
from robustscape.config.base import read_mapping
from robustscape.config.checks import check_experiment
from robustscape.config.datasets import DatasetEntry
from robustscape.config.experiment import Experiment
from robustscape.config.inheritance import read_recipes
from robustscape.config.reading import read_attacks, read_scale, read_studies, scale_names
from robustscape.config.sizing import resize_recipe
from robustscape.errors import ConfigError, unknown_name


@functools.cache
def load_experiment(folder: Path, scale_name: str, paper: Path | None = None) -> Experiment:
    """Read and check the configuration in ``folder`` for a scale.

    Args:
        folder: ``config/``.
        scale_name: name of a folder in ``config/scales/``.
        paper: folder of the printed numbers; ``resources/paper`` beside ``folder`` by default.

    Raises:
        ConfigError: with the file, the key, what it got and what is allowed.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no configuration folder '{folder}'; run from the project's root or give --config.")
    scales = scale_names(folder / "scales")
    if scale_name not in scales:
        raise unknown_name("scale", scale_name, scales)
    full, studies = read_recipes(folder / "recipes", read_studies(folder / "studies"))
    scale = read_scale(folder / "scales" / scale_name, list(studies))
    experiment = Experiment(
        folder=folder,
        paper=paper or folder.parent / "resources" / "paper",
        scale_name=scale_name,
        scale=scale,
        attacks=read_attacks(folder / "attacks"),
        suites=read_mapping(SuiteSpec, folder / "suites.yaml"),
        datasets=read_mapping(DatasetEntry, folder / "datasets.yaml"),
        architectures=read_mapping(ArchitectureEntry, folder / "architectures.yaml"),
        recipes={name: resize_recipe(name, recipe, scale.recipes) for name, recipe in full.items()},
        full_recipes=full,
        studies=studies,
    )
    check_experiment(experiment)
    return experiment
