"""A recipe at a scale: trained for less, in another arithmetic, probed on fewer samples; and sizes that nothing takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from robustscape.config.recipes import Optimizer, Probe, Recipe, RecipeSizes, TracedUpdates


def in_precision(recipe: Recipe, precision: Literal["fp32", "tf32"]) -> Recipe:
    """``recipe``, trained in ``precision`` where it states none."""
    return recipe if recipe.precision else recipe.model_copy(update={"precision": precision})


def resize_recipe(name: str, recipe: Recipe, sizes: Mapping[str, RecipeSizes]) -> Recipe:
    """``recipe`` with the sizes of every pattern that its name fits; of one size that several give, the last counts."""
    found: dict[str, Any] = {}
    for pattern, size in sizes.items():
        if fnmatchcase(name, pattern):
            found |= {key: value for key in RecipeSizes.model_fields if (value := getattr(size, key)) is not None}
    scalars = ("epochs", "batch_size", "augmentation", *(["recalibrate"] if recipe.recalibrate else []))
    changes: dict[str, Any] = {key: found[key] for key in scalars if key in found}
    if "traced_updates" in found:
        changes["traced_updates"] = _fewer_updates(recipe.traced_updates, found["traced_updates"])
    fewer = {key: found[f"probe_{key}"] for key in ("samples", "points") if f"probe_{key}" in found}
    if fewer:
        changes["probes"] = {column: _resize_probe(probe, fewer) for column, probe in recipe.probes.items()}
    tuned = {key: found[key] for key in ("lr_factor", "inner_steps") if key in found}
    if tuned:
        changes["optimizer"] = _tune_optimizer(recipe.optimizer, **tuned)
        changes["phases"] = [
            phase.model_copy(update={"optimizer": _tune_optimizer(phase.optimizer, **tuned)})
            if phase.optimizer
            else phase
            for phase in recipe.phases
        ]
    return recipe.model_copy(update=changes) if changes else recipe


def _fewer_updates(updates: TracedUpdates, most: int) -> TracedUpdates:
    first = None if updates.first is None else min(updates.first, most)
    return TracedUpdates(first=first, last=min(updates.last, most))


def _resize_probe(probe: Probe, sizes: Mapping[str, int]) -> Probe:
    changes = {key: size for key, size in sizes.items() if key in probe.parameters}
    return probe.model_copy(update={"parameters": {**probe.parameters, **changes}})


def _tune_optimizer(optimizer: Optimizer, lr_factor: float = 1.0, inner_steps: int | None = None) -> Optimizer:
    changes: dict[str, Any] = {}
    if "lr" in optimizer.parameters:
        changes["lr"] = optimizer.parameters["lr"] * lr_factor
    if inner_steps is not None and "inner_steps" in optimizer.parameters:
        changes["inner_steps"] = inner_steps
    return optimizer.model_copy(update={"parameters": {**optimizer.parameters, **changes}})


def _optimizers(recipe: Recipe) -> list[Optimizer]:
    return [recipe.optimizer, *(phase.optimizer for phase in recipe.phases if phase.optimizer)]


#: Size -> whether a recipe takes it, and what it would need to; every recipe takes the others.
RECIPE_TAKES: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "lr_factor": (lambda recipe: any("lr" in o.parameters for o in _optimizers(recipe)), "an optimizer with 'lr'"),
    "inner_steps": (
        lambda recipe: any("inner_steps" in o.parameters for o in _optimizers(recipe)),
        "an optimizer with 'inner_steps'",
    ),
    "recalibrate": (lambda recipe: bool(recipe.recalibrate), "the key 'recalibrate'"),
    "traced_updates": (lambda recipe: bool(recipe.traces), "traces"),
    "probe_points": (lambda recipe: any("points" in p.parameters for p in recipe.probes.values()), "a probe of points"),
    "probe_samples": (
        lambda recipe: any("samples" in p.parameters for p in recipe.probes.values()),
        "a probe of samples",
    ),
}
