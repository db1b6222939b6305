"""The files of a run (contract 2), known to those who plan and to those who load. Imports no torch."""

from __future__ import annotations

from robustscape.config.recipes import Recipe

#: Which file of a run holds which weights.
WEIGHTS = {"selected": "model.safetensors", "last": "last.safetensors"}

#: State before, and weights after, the epoch in which a probe collapsed (a recipe's key ``fall``).
FALL_FILES = ("fall.safetensors", "fall_end.safetensors")


def run_files(recipe: Recipe) -> tuple[str, ...]:
    """What a run of the recipe leaves in its folder."""
    return (
        *WEIGHTS.values(),
        "run.json",
        "history.csv",
        *(["updates.csv"] if recipe.traces else []),
        *dict.fromkeys(recipe.kept_files),
        *(FALL_FILES if recipe.fall else []),
    )
