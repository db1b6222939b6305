"""The accuracies of each method's best setting: kim2023 table 3.9, whose beta is the best of five under PGD-50.

Every run is attacked with the attacks that stand alone; those of the best recipe also with the suite. Cost: that of the attacks,
the suite's only for the best.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.errors import unknown_name
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.attack_accuracies import accuracies_alone, accuracy_together
from robustscape.evaluation.trained_run import TrainedRun


def best_robust_accuracies(
    runs: list[TrainedRun],
    *,
    attacks: Suite,
    by: str,
    suite: Suite | None = None,
    suite_name: str = "autoattack",
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of ``attack_accuracies`` of the runs of each method's best recipe, and its beta as chosen_beta.

    The best recipe has the highest mean over seeds of the accuracy under ``by``, per data set, architecture, method and eps.

    Args:
        runs: trained runs with several recipes per method.
        attacks: each evaluated by itself, on all samples.
        by: the one of them by which the best is chosen.
        suite: evaluated together on the best, worst case per sample; None: none.
        suite_name: the suite's name in the column ``attack``.
        samples: first test samples; None for all.
        attacked_samples: the first of them that attacks see; None for all. Clean accuracy is of all.

    Raises:
        ConfigError: ``by`` is none of the attacks.
    """
    names = [name for name, _ in attacks.attacks]
    if by not in names:
        raise unknown_name(f"attack of suite {attacks.name}", by, names)
    seen = samples if attacked_samples is None else min(attacked_samples, samples or attacked_samples)
    recipes: dict[tuple[Any, ...], dict[str, list[TrainedRun]]] = defaultdict(lambda: defaultdict(list))
    alone: dict[int, list[dict[str, Any]]] = {}
    for run in runs:
        columns = run.names
        place = (columns["dataset"], columns["architecture"], method_columns(run)["method"], run.eps)
        recipes[place][columns["recipe"]].append(run)
        alone[id(run)] = accuracies_alone(run, attacks, run.eps, samples, attacked_samples, "test")

    def robust_accuracy(members: list[TrainedRun]) -> float:
        found = (row for run in members for row in alone[id(run)])
        return fmean(row["value"] for row in found if row["attack"] == by and row["metric"] == "accuracy")

    rows: list[dict[str, Any]] = []
    for settings in recipes.values():
        for run in max(settings.values(), key=robust_accuracy):
            found = alone[id(run)]
            if suite is not None:
                found = [*found, accuracy_together(_alone(run), suite, suite_name, run.eps, seen, "test")]
            beta = method_columns(run)["beta"]
            if beta is not None:
                chosen = {"metric": "chosen_beta", "attack": "none", "value": float(beta), "unit": "1"}
                found = [*found, {**method_columns(run), **chosen}]
            rows += [{**run.names, **row, "chosen_by": by, "settings": len(settings)} for row in found]
    return rows


def _alone(run: TrainedRun) -> TrainedRun:
    """Return the run with a folder of its own for what a long attack has done; the runs of a comparison share one."""
    return run if run.state is None else replace(run, state=run.state / run.checkpoint[:16])
