"""The robust accuracy of one method minus that of another: kanai2022 section 5.3 prints one such difference, and no accuracies.

Cost: that of the suite, for each run of the two methods.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.errors import ConfigError
from robustscape.evaluation.robust_suite import robust_suite
from robustscape.evaluation.trained_run import TrainedRun


def robust_accuracy_difference(
    runs: list[TrainedRun],
    *,
    suite: Suite,
    of: str,
    minus: str,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return a row robust_accuracy_difference (percentage points): the accuracy that the suite leaves ``of`` minus ``minus``.

    Args:
        runs: trained runs that agree in everything but the recipe.
        suite: attacks in their order; accuracies are the worst case of all.
        of: the recipe of the run whose accuracy comes first.
        minus: the recipe of the run whose accuracy is taken away.
        samples: first test samples; None for all.

    Raises:
        ConfigError: not one run of either recipe.
    """
    left = []
    for recipe in (of, minus):
        chosen = [run for run in runs if run.config["recipe"]["name"] == recipe]
        if len(chosen) != 1:
            raise ConfigError(f"robust_accuracy_difference: needs one run of recipe '{recipe}', got {len(chosen)}.")
        (run,) = chosen  # each goes on from a state of its own
        rows = robust_suite(replace(run, state=run.state and run.state / recipe), suite=suite, samples=samples)
        left.append(next(r for r in rows if (r["metric"], r["attack"]) == ("robust_accuracy", "worst case")))
    first, second = left
    flags = {column: max(first[column], second[column]) for column in first if column.startswith("flag_")}
    names = runs[0].names
    return [
        {
            **first,
            **flags,
            **{column: names[column] for column in ("dataset", "architecture", "seed")},
            "metric": "robust_accuracy_difference",
            "value": first["value"] - second["value"],
            "unit": "percentage_points",
        }
    ]
