"""Weights from outside that a study's run lists name in place of a recipe (key ``checkpoint``)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from robustscape.config.base import check_name
from robustscape.config.experiment import Checkpoint
from robustscape.config.recipes import Optimizer, Recipe
from robustscape.config.studies import Study
from robustscape.errors import ConfigError


@functools.cache
def no_recipe() -> Recipe:
    """Return what stands under the name of a checkpoint among the recipes: nothing here has trained it."""
    return Recipe(
        about="weights from outside",
        method="standard",
        optimizer=Optimizer(name="sgd", parameters={"lr": 1.0}),
        epochs=1,
    )


def read_checkpoints(studies: Mapping[str, Study], recipes: Iterable[str]) -> dict[str, Checkpoint]:
    """Return the files of weights that run lists name, by the name that they have there.

    Raises:
        ConfigError: a file is not there; a name is a recipe's, or that of two files.
    """
    found: dict[str, Checkpoint] = {}
    for work, study in studies.items():
        for runs, run_sets in study.runs.items():
            for run_set in run_sets:
                if run_set.checkpoint is None:
                    continue
                where, name = f"study '{work}': runs '{runs}'", run_set.recipe[0]
                check_name(name, where)
                if name in recipes:
                    raise ConfigError(f"{where}: recipe '{name}' trains nets; give the checkpoint a name of its own.")
                if name in found and found[name].path != run_set.checkpoint:
                    raise ConfigError(
                        f"{where}: '{name}' is the name of {found[name].path} too; give one another name."
                    )
                found[name] = Checkpoint(run_set.checkpoint, _content_hash(run_set.checkpoint, where))
    return found


def _content_hash(path: str, where: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{where}: checkpoint got '{path}', which cannot be read: {error.strerror}.") from None
