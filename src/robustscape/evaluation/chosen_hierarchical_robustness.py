"""``hierarchical_robustness`` of one method's best settings: ma2025's TRADES of chapter 5, whose beta is swept.

    beta* = argmax_beta (accuracy under untargeted PGD-20)

of the flat net, of the meta-classifier, and of all leaf classifiers together. Section 5.6.1 sweeps "on the validation set to
select the model with the highest accuracy", for "both the flat models and all component models". That set is not described: the
images that choose are the test images which hierarchical PGD does not see. Cost: the attack that chooses on every net, and
``hierarchical_robustness`` of the chosen ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import ConfigError
from robustscape.evaluation._meta_classes import fixed_places, hierarchy_of, leaf_superclasses
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.hierarchical_robustness import hierarchical_robustness
from robustscape.evaluation.method_names import trained_method
from robustscape.evaluation.trained_run import TrainedRun

#: What has a setting of its own.
FLAT, META, LEAVES = "flat", "meta_classifier", "leaf_classifiers"


def chosen_hierarchical_robustness(
    runs: list[TrainedRun],
    *,
    attacks: Suite,
    by: AttackSpec,
    eps: float,
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of ``hierarchical_robustness`` of the chosen nets of each seed, and rows ``chosen_beta``.

    The latter have ``attack`` "none" and a column ``network``: flat, meta_classifier or leaf_classifiers. A setting is chosen for
    all seeds together; the accuracy of leaf classifiers is that of each on the images of its meta-class.

    Args:
        runs: of one method and any seeds: per recipe, runs on all leaf classes and, for HAR, on meta labels and each meta-class.
        attacks: as in ``hierarchical_robustness``.
        by: the attack that chooses.
        eps: perturbation budget of all attacks.
        samples: first test samples; None for all.
        attacked_samples: as many of them, drawn once and for all, see hierarchical PGD; the others choose.

    Raises:
        ConfigError: the runs are of several methods, have no beta, or no test image is left to choose by.
    """
    method = _only_method(runs)
    recipes: dict[str, dict[str, list[TrainedRun]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        recipes[_role(run)][run.names["recipe"]].append(run)
    images = _images(runs, samples, attacked_samples)
    chosen = {role: _best_recipe(role, settings, images, by, eps) for role, settings in recipes.items()}
    nets: dict[int, list[TrainedRun]] = defaultdict(list)
    for run in runs:
        if run.names["recipe"] == chosen[_role(run)]:
            nets[run.seed].append(run)
    # A row of HAR names the recipe of its parts where they have one.
    of_har = chosen.get(META) if chosen.get(META) == chosen.get(LEAVES) else None
    recipe_of = {"flat": chosen.get(FLAT), "har": of_har}
    rows: list[dict[str, Any]] = []
    for seed, members in nets.items():
        found = hierarchical_robustness(
            members, attacks=attacks, eps=eps, samples=samples, attacked_samples=attacked_samples
        )
        rows += [{"seed": seed, **row, "method": method, "recipe": recipe_of.get(row["network"])} for row in found]
    shared = {"method": method, "attack_family": "none", "attack": "none", "metric": "chosen_beta", "unit": "1"}
    betas = {role: trained_method(settings[chosen[role]][0])[1]["beta"] for role, settings in recipes.items()}
    return rows + [{**shared, "network": role, "value": float(beta)} for role, beta in betas.items()]


def _only_method(runs: Sequence[TrainedRun]) -> str:
    methods = [trained_method(run) for run in runs]
    names = sorted({name for name, _ in methods})
    if len(names) != 1:
        raise ConfigError(f"chosen_hierarchical_robustness: the runs are of {', '.join(names)}; allowed is one method.")
    if any("beta" not in parameters for _, parameters in methods):
        raise ConfigError(f"chosen_hierarchical_robustness: {names[0]} has no parameter beta to choose.")
    return names[0]


def _role(run: TrainedRun) -> str:
    return {"leaves": FLAT, "meta": META}.get(hierarchy_of(run)[1], LEAVES)


def _images(
    runs: Sequence[TrainedRun], samples: int | None, attacked_samples: int | None
) -> dict[Any, tuple[Tensor, Tensor]]:
    """Return what each part of a hierarchy is chosen by: "leaves", "meta" or a number -> inputs and its own labels."""
    flat = next((run for run in runs if _role(run) == FLAT), None)
    if flat is None:
        raise ConfigError("chosen_hierarchical_robustness: no run is trained on all leaf classes.")
    x, y = flat.subset("test", samples)
    left = torch.ones(len(y), dtype=torch.bool)
    left[fixed_places(len(y), attacked_samples)] = False
    if not left.any():
        raise ConfigError(
            f"chosen_hierarchical_robustness: key 'attacked_samples' got {attacked_samples}, which leaves no test image to "
            f"choose by; allowed is less than {len(y)}."
        )
    left = left.to(y.device)
    x, y = x[left], y[left]
    members = torch.tensor(leaf_superclasses(flat), device=y.device)
    found: dict[Any, tuple[Tensor, Tensor]] = {"leaves": (x, y), "meta": (x, members[y])}
    start = 0
    for number, leaves in enumerate(hierarchy_of(flat)[0].values()):
        own = members[y] == number
        found[number] = (x[own], y[own] - start)
        start += len(leaves)
    return found


def _best_recipe(
    role: str,
    settings: Mapping[str, list[TrainedRun]],
    images: Mapping[Any, tuple[Tensor, Tensor]],
    by: AttackSpec,
    eps: float,
) -> str:
    """Return the recipe of the highest accuracy under an attack, each image counted once a seed; the only one unmeasured."""
    if len(settings) == 1:
        return next(iter(settings))

    def robust_accuracy(runs: Sequence[TrainedRun]) -> float:
        found = []
        for run in runs:
            x, y = images[hierarchy_of(run)[1]]
            if len(y):
                found += [accuracy_under_attack(run.model, x, y, by, eps, run.seed)] * len(y)
        if not found:
            raise ConfigError(f"chosen_hierarchical_robustness: no test image is left to choose the {role} by.")
        return fmean(found)

    return max(settings, key=lambda recipe: robust_accuracy(settings[recipe]))
