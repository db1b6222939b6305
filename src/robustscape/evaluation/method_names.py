"""The method that a run ends with, by the names of ma2025's tables, and the choice of one setting of each method."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.trained_run import TrainedRun

#: Parameters that are swept, or tell the rows of a table apart, and their columns.
_COLUMNS = ("init", "beta", "rel_margin")


def trained_method(run: TrainedRun) -> tuple[str, dict[str, Any]]:
    """Return the method of the last phase of a run's recipe, and its parameters.

    Adversarial training has the name of its attack, such as ``pgd10_at``.
    """
    recipe = run.config["recipe"]
    for phase in reversed(recipe.get("phases", [])):
        if phase["method"]:
            return phase["method"], phase["parameters"]
    return method_columns(run)["method"], recipe.get("parameters", {})


def trained_method_columns(run: TrainedRun) -> dict[str, Any]:
    """Return the columns method, init, beta and rel_margin; a parameter that the method does not have is None."""
    method, parameters = trained_method(run)
    return {"method": method, **{column: parameters.get(column) for column in _COLUMNS}}


@dataclass(frozen=True)
class Chosen:
    """A run of the setting that was chosen for its method.

    Args:
        run: the run.
        settings: number of settings it was chosen from.
    """

    run: TrainedRun
    settings: int


def choose_settings(runs: list[TrainedRun], by: AttackSpec, eps: float | None = None) -> list[Chosen]:
    """Return the runs of each method's best recipe: of the highest mean over seeds of the accuracy under an attack.

    It sees all test samples, whatever is measured of the chosen runs, so that all columns of a table are of the same ones.

    Methods are told apart by data set, architecture, method, start and eps. Where a method has one recipe nothing is measured.

    Args:
        runs: trained runs, some methods with several recipes.
        by: the attack.
        eps: its perturbation budget; None: each run's own.
    """
    groups: dict[tuple[Any, ...], dict[str, list[TrainedRun]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        names, columns = run.names, trained_method_columns(run)
        place = (names["dataset"], names["architecture"], columns["method"], columns["init"], run.eps)
        groups[place][names["recipe"]].append(run)

    def robust_accuracy(run: TrainedRun) -> float:
        budget = run.eps if eps is None else eps
        return accuracy_under_attack(run.model, *run.subset("test", None), by, budget, run.seed)

    found = []
    for settings in groups.values():
        members = list(settings.values())
        if len(members) > 1:
            members.sort(key=lambda recipe: -fmean(robust_accuracy(run) for run in recipe))
        found += [Chosen(run, len(settings)) for run in members[0]]
    return found
