"""Accuracy on adversarial examples of another model: the black-box column of kim2023's table 2.1.

The examples are crafted once, on the source (a cleanly trained net), and evaluated on every other run. Cost: one attack per eps,
and a forward pass per run.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.errors import UserError
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def blackbox_accuracy(
    runs: list[TrainedRun],
    *,
    source: str,
    attack: AttackSpec,
    name: str,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return one row accuracy (percent) per run other than the source, at that run's eps.

    Args:
        runs: the source and its targets.
        source: recipe of the source; the first if several runs have it.
        attack: of the source.
        name: the attack's name in the column ``attack``.
        samples: first test samples; None for all.

    Raises:
        UserError: no run has that recipe.
    """
    sources = [run for run in runs if run.config["recipe"]["name"] == source]
    if not sources:
        raise UserError(f"no run of the comparison has the recipe '{source}', on which examples are to be made.")
    surrogate, rows = sources[0], []
    x, y = surrogate.subset("test", samples)
    targets = [run for run in runs if run.config["recipe"]["name"] != source]
    examples = {
        eps: craft(surrogate.model, x, y, attack, eps, seed=surrogate.seed) for eps in {run.eps for run in targets}
    }
    for run in targets:
        rows.append(
            {
                **run.names,
                **method_columns(run),
                **protocol_columns(attack, run.eps, "test", len(y)),
                "attack": name,
                "metric": "accuracy",
                "value": percent_true_fp32(correctly_classified(run.model, examples[run.eps], y)),
                "unit": "percent",
                "source_recipe": source,
                "source_architecture": surrogate.config["architecture"]["name"],
            }
        )
    return rows
