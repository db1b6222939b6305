"""The names of a run's files (contract 2), for the plan and for those who load runs. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustscape.config.recipes import Recipe

#: Weights of a run -> their file.
WEIGHTS = {"selected": "model.safetensors", "last": "last.safetensors", "as_trained": "as_trained.safetensors"}

#: The selected weights with the running statistics of BatchNorm that training left, where the recipe has them estimated anew.
AS_TRAINED = WEIGHTS["as_trained"]

#: Whether the run is trained at all (``training.health``); items read it, measurements do not.
HEALTH = "health.json"

#: State before, and weights after, the epoch of the last collapse (a recipe's key ``keep_collapse``).
COLLAPSE_FILES = ("collapse_start.safetensors", "collapse_end.safetensors")

#: Weights after the first epoch since then without distortion (``keep_collapse.distortion``).
VANISHED_FILE = "distortion_vanished.safetensors"


def collapse_files(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the files that the recipe's ``keep_collapse`` asks for."""
    rule = recipe.keep_collapse
    return () if rule is None else (*COLLAPSE_FILES, *([VANISHED_FILE] if rule.distortion else []))


#: The files that every run leaves in its folder; it leaves others where keys of its recipe ask for them.
EVERY_RUN = (WEIGHTS["selected"], WEIGHTS["last"], "run.json", "history.csv", HEALTH)


def run_files(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the files that a run of the recipe leaves in its folder."""
    return (
        *EVERY_RUN,
        *([AS_TRAINED] if recipe.recalibrate else []),
        *(["updates.csv"] if recipe.traces else []),
        *dict.fromkeys(recipe.kept_files),
        *collapse_files(recipe),
    )
