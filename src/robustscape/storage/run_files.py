"""The names of a run's files (contract 2), for the plan and for those who load runs. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustscape.config.recipes import Recipe

#: Weights of a run -> their file.
WEIGHTS = {"selected": "model.safetensors", "last": "last.safetensors"}

#: Whether the run is trained at all (``training.health``); items read it, measurements do not.
HEALTH = "health.json"

#: State before, and weights after, the epoch in which a probe collapsed (a recipe's key ``keep_collapse``).
COLLAPSE_FILES = ("collapse_start.safetensors", "collapse_end.safetensors")


def run_files(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the files that a run of the recipe leaves in its folder."""
    return (
        *WEIGHTS.values(),
        "run.json",
        "history.csv",
        HEALTH,
        *(["updates.csv"] if recipe.traces else []),
        *dict.fromkeys(recipe.kept_files),
        *(COLLAPSE_FILES if recipe.keep_collapse else []),
    )
