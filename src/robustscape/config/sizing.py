"""A recipe at a scale: trained for less, probed on fewer samples."""

from __future__ import annotations

from fnmatch import fnmatchcase

from robustscape.config.recipes import Probe, Recipe, RecipeSizes, TracedUpdates


def _resize_probe(probe: Probe, sizes: dict[str, int | None]) -> Probe:
    changes = {key: size for key, size in sizes.items() if size is not None and key in probe.parameters}
    return probe.model_copy(update={"parameters": {**probe.parameters, **changes}})


def resize_recipe(name: str, recipe: Recipe, sizes: dict[str, RecipeSizes]) -> Recipe:
    """``recipe`` with the sizes of every pattern that its name fits, in their order."""
    for pattern, size in sizes.items():
        if fnmatchcase(name, pattern):
            changes = size.model_dump(
                exclude_none=True, exclude={"probe_samples", "probe_points", "traced_updates", "augmentation"}
            )
            if size.augmentation is not None:
                changes["augmentation"] = size.augmentation
            if size.traced_updates is not None:
                first, last = recipe.traced_updates.first, recipe.traced_updates.last
                changes["traced_updates"] = TracedUpdates(
                    first=None if first is None else min(first, size.traced_updates),
                    last=min(last, size.traced_updates),
                )
            fewer = {"samples": size.probe_samples, "points": size.probe_points}
            changes["probes"] = {key: _resize_probe(probe, fewer) for key, probe in recipe.probes.items()}
            recipe = recipe.model_copy(update=changes)
    return recipe
