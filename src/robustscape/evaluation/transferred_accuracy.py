"""Accuracy on adversarial examples of undefended nets: ma2025 tables 3.3 and 3.7 to 3.9.

Examples are crafted on the source with the true labels and evaluated on every other run, over all samples. Of methods with
several settings only the best counts, chosen as in ``chosen_each_attack``. Cost: one attack per budget, a forward pass per run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.errors import UserError
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.method_names import choose_settings, trained_method_columns
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def transferred_accuracy(
    runs: list[TrainedRun],
    *,
    source: str,
    attack: AttackSpec,
    name: str,
    by: AttackSpec,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return one row accuracy (percent) per run other than the sources; its column ``source`` has the source's architecture.

    Args:
        runs: sources and their targets, of one data set.
        source: recipe of the sources; those of several architectures have rows of their own.
        attack: made on the source.
        name: the attack's name in the column ``attack``.
        by: the attack that chooses among several settings of a method, at the run's own eps.
        eps: perturbation budget; "run" for the target's own.
        samples: first test samples; None for all.

    Raises:
        UserError: no run has the recipe of the source.
    """
    sources = [run for run in runs if run.config["recipe"]["name"] == source]
    if not sources:
        raise UserError(f"no run of the comparison has the recipe '{source}', on which examples are to be made.")
    targets = choose_settings([run for run in runs if run.config["recipe"]["name"] != source], by)
    rows = []
    for surrogate in sources:
        x, y = surrogate.subset("test", samples)
        examples: dict[float, Tensor] = {}
        for chosen in targets:
            run = chosen.run
            budget = run.attack_eps(eps)
            if budget not in examples:
                examples[budget] = craft(surrogate.model, x, y, attack, budget, seed=surrogate.seed)
            rows.append(
                {
                    **run.names,
                    **trained_method_columns(run),
                    **protocol_columns(attack, budget, "test", len(y)),
                    "attack": name,
                    "source": surrogate.names["architecture"],
                    "metric": "accuracy",
                    "value": percent_true_fp32(correctly_classified(run.model, examples[budget], y)),
                    "unit": "percent",
                    "settings": chosen.settings,
                }
            )
    return rows
