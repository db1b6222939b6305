"""The whole configuration: read, resolved for one scale, and checked."""

from __future__ import annotations

import functools
from pathlib import Path

from robustscape import catalog
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import SuiteSpec
from robustscape.config.checks import check_experiment
from robustscape.config.datasets import DatasetEntry
from robustscape.config.experiment import Experiment
from robustscape.config.inheritance import read_recipes
from robustscape.config.outside import no_recipe, read_checkpoints
from robustscape.config.reading import read_attacks, read_entries, read_scale, read_studies, scale_names
from robustscape.config.sizing import in_precision, resize_recipe
from robustscape.errors import ConfigError, unknown_name


def load_experiment(folder: Path, scale_name: str, paper: Path | None = None) -> Experiment:
    """Read and check the configuration in ``folder``, and in the plug-ins, for a scale.

    Args:
        folder: ``config/``.
        scale_name: name of a folder in ``config/scales/``.
        paper: folder of the printed numbers; ``resources/paper`` beside ``folder`` by default.

    Raises:
        ConfigError: with the file, the key, what it got and what is allowed.
    """
    return _load_experiment(folder, scale_name, paper, tuple(catalog.plugins()))


@functools.cache
def _load_experiment(
    folder: Path, scale_name: str, paper: Path | None, plugins: tuple[catalog.Plugin, ...]
) -> Experiment:
    """The same, read once per process and set of plug-ins."""
    if not folder.is_dir():
        raise ConfigError(f"there is no configuration folder '{folder}'; run from the project's root or give --config.")
    scales = scale_names(folder / "scales")
    if scale_name not in scales:
        raise unknown_name("scale", scale_name, scales)
    folders = (folder, *catalog.config_folders())
    full, studies = read_recipes(folders, read_studies(folders))
    checkpoints = read_checkpoints(studies, full)
    scale = read_scale(folders, scale_name, list(studies))
    full = {name: in_precision(recipe, scale.precision) for name, recipe in full.items()}
    recipes = {name: resize_recipe(name, recipe, scale.recipes) for name, recipe in full.items()}
    outside = {name: no_recipe() for name in checkpoints}
    experiment = Experiment(
        folder=folder,
        paper=paper or folder.parent / "resources" / "paper",
        scale_name=scale_name,
        scale=scale,
        attacks=read_attacks(folders),
        suites=read_entries(SuiteSpec, "suites.yaml", folders),
        datasets=read_entries(DatasetEntry, "datasets.yaml", folders),
        architectures=read_entries(ArchitectureEntry, "architectures.yaml", folders),
        recipes={**recipes, **outside},
        full_recipes={**full, **outside},
        studies=studies,
        checkpoints=checkpoints,
    )
    check_experiment(experiment)
    return experiment
