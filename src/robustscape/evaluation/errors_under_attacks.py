"""Clean error and the error under each attack of a suite alone: ``attack_accuracies`` in the terms of liu2020's tables 3 and 4.

A measurement of its own because a scale may exchange the argument ``suite``: here the attacks that are made one by one, in
``attack_accuracies`` those that are made together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation.attack_accuracies import CLEAN_OF_ATTACKED, attack_accuracies
from robustscape.evaluation.trained_run import TrainedRun


def errors_under_attacks(
    run: TrainedRun,
    *,
    suite: Suite,
    names: dict[str, str] = {},  # noqa: B006  (read from the syntax tree as a schema; never changed)
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Return rows clean_test_error (attack ``none``) and robust_test_error, one per attack, in percent; for ``train`` likewise.

    Args:
        run: the trained model and its data.
        suite: the attacks; their random streams are the run's seed.
        names: an attack's name in the configuration -> its name in the rows; without an entry, the former.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        attacked_samples: the first of them that attacks see; None for all. Clean accuracy is of all.
        split: which split.
    """
    accuracies = attack_accuracies(
        run, attacks=suite, eps=eps, samples=samples, attacked_samples=attacked_samples, split=split
    )
    rows = []
    for row in accuracies:
        if row["metric"] == "accuracy" and row["attack"] != CLEAN_OF_ATTACKED:
            kind = "clean" if row["attack"] == "clean" else "robust"
            name = {"clean": "none", **names}.get(row["attack"], row["attack"])
            rows.append(row | {"attack": name, "metric": f"{kind}_{split}_error", "value": 100.0 - row["value"]})
    return rows
