"""The transfer matrix of a group of runs: examples of one, evaluated on the others (kim2023 eq 3.6; ma2025 chapter 6)."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun, require_one_dataset
from robustscape.evaluation.transfer import transfer_matrix
from robustscape.numbers import pretty_number


def transferability(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    samples: Annotated[int, Field(ge=1)] | None = None,
    noise: list[float] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    draws: Annotated[int, Field(ge=1)] = 3,
    denominators: list[Literal["all", "all_models_right", "pair", "pair_parity"]] = ["all", "all_models_right"],  # noqa: B006
    limit: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows transferability (percent), and with noise its nullified ratios, by source, target and denominator.

    Args:
        runs: the models; all are sources and targets. They must share a data set; its test split is evaluated.
        attack: how to craft, once per source.
        eps: perturbation budget of the attack.
        samples: first samples of the test split; None for all.
        noise: levels of noise added after crafting, as multiples of eps.
        draws: number of draws of the noise, over which rates are averaged.
        denominators: see ``evaluation.transfer``.
        limit: at most this many samples of a denominator, the first ones.

    Returns:
        Rows in which a run is named by what distinguishes it: architecture, eps, seed, recipe as needed.

    Raises:
        ConfigError: the runs have different data sets.
    """
    require_one_dataset("transferability", runs)
    models = dict(zip(distinguishing_names(runs), (run.model for run in runs), strict=True))
    x, y = runs[0].subset("test", samples)
    return transfer_matrix(
        models,
        models,
        x,
        y,
        attack,
        eps,
        seed=runs[0].seed,
        noise=noise,
        draws=draws,
        denominators=denominators,
        limit=limit,
    )


def distinguishing_names(runs: list[TrainedRun]) -> list[str]:
    """Return the shortest names that tell the runs apart, made of architecture, eps, seed and recipe."""
    facts = [
        (
            run.config["architecture"]["name"],
            f"ε = {pretty_number(run.eps)}",
            f"seed {run.seed}",
            run.config["recipe"]["name"],
        )
        for run in runs
    ]
    chosen = (
        [", ".join(fact[index] for index in fields) for fact in facts]
        for count in (1, 2, 3, 4)
        for fields in itertools.combinations(range(4), count)
    )
    return next(found for found in chosen if len(set(found)) == len(runs))
