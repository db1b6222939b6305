"""Accuracy clean, under Gaussian noise, and under suites in L2 and in Linf, at several levels: ma2025 tables 4.1, 4.3 to 4.7.

The suite of ma2025 is AutoAttack. Its levels share their work: an image that is broken within a smaller ball is broken within a
larger one, and is not attacked again (``evaluation.harness.suite.Known``). Top-k accuracy for k > 1 is that of the points that
were made to break top-1, which depend on the ball they were looked for in; then each level is attacked anew.

Levels are those of the work's data set. An image that stands in for a larger one has a smaller L2 norm for the same change of
every pixel, so budgets in L2 are scaled by sqrt(d / ``dimension``), d the number of values of an input.

Cost: the clean inputs and each noise 1 forward pass of all samples, and the attacks.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import ConfigError
from robustscape.evaluation._meta_classes import logits_of
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.suite import Known, run_suite
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.numbers import number_label, pretty_number

#: The levels of the column ``perturbation``: of clean inputs, and of each family.
CLEAN, NOISE = "none", "gaussian_variance"
ATTACKS = {"L2": "autoattack_l2_eps", "Linf": "autoattack_linf_eps"}

#: The stage of a larger budget at which the points found within smaller ones are checked.
SMALLER = "smaller eps"


def accuracy_by_severity(
    run: TrainedRun,
    *,
    suite: Suite,
    variances: list[float],
    l2: list[float],
    linf: list[float],
    dimension: Annotated[int, Field(ge=1)],
    average: list[float] = [],  # noqa: B006  (read from the syntax tree as a schema)
    average_top: Annotated[int, Field(ge=1)] = 1,
    top: list[int] = [1],  # noqa: B006
    rel_eps: Annotated[float, Field(gt=0)] = 1.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
    l2_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows accuracy (percent) by ``topk``, ``perturbation`` and ``level``, and the average of three of them.

    ``level`` is the work's own number (``level_as_written`` with fractions, ``severity`` its place, from 1), ``attack_eps`` and
    ``variance`` are what was used. The rows of the average, and clean
    accuracy of the same top-k, have ``chosen`` true. The average itself is the row average_robust_accuracy.

    Args:
        run: the trained model and its data.
        suite: attacks in L2 and in Linf; those of one norm are evaluated together, worst case per sample.
        variances: levels of the noise, rising; clipped to [0, 1] after it, one draw per sample, the same for every model of a
            seed.
        l2: levels of the attacks in L2, rising.
        linf: levels of the attacks in Linf, rising.
        dimension: number of values of an input that the levels in L2 are meant for.
        average: a variance, an L2 and a Linf level that are averaged; empty: none.
        average_top: k of the accuracy that is averaged.
        top: k of every accuracy.
        rel_eps: input units in one unit of the levels: 0.5 where those are of signals in [-1, 1].
        samples: first test samples; None for all.
        attacked_samples: the first of them that attacks see; None for all.
        l2_samples: the same for attacks in L2; None: ``attacked_samples``.

    Raises:
        ConfigError: the levels do not rise, ``average`` is no level of each family, or the suite has no attack of a norm.
    """
    families = {NOISE: variances, ATTACKS["L2"]: l2, ATTACKS["Linf"]: linf}
    _check_levels(families, average, average_top, top)
    x, y = run.subset("test", samples)
    logits = logits_of(run.model, x, y)
    shared = {"split": "test", "model_mode": "eval", "metric": "accuracy", "unit": "percent"}
    rows: list[dict[str, Any]] = [
        {**shared, "perturbation": CLEAN, "level": 0.0, "topk": f"top{k}", "value": share_in_top(logits, y, k)}
        | {"samples": len(y)}
        for k in top
    ]
    for level in variances:
        spec = AttackSpec(attack="gaussian_noise", parameters={"variance": level * rel_eps**2})
        logits = logits_of(run.model, craft(run.model, x, y, spec, math.inf, seed=run.seed), y)
        noisy = {**shared, "perturbation": NOISE, "level": level, "variance": level * rel_eps**2, "samples": len(y)}
        rows += [{**noisy, "topk": f"top{k}", "value": share_in_top(logits, y, k)} for k in top]
    scale = {"L2": rel_eps * math.sqrt(x[0].numel() / dimension), "Linf": rel_eps}
    seen = {"L2": attacked_samples if l2_samples is None else l2_samples, "Linf": attacked_samples}
    for norm, levels in (("L2", l2), ("Linf", linf)):
        chosen = attacks_of_norm(suite, norm)
        xs, ys = x[: seen[norm]], y[: seen[norm]]
        found = attack_levels(run, xs, ys, chosen, levels, scale[norm], top)
        attacked = {**shared, "perturbation": ATTACKS[norm], "norm": norm, "suite": suite.name, "samples": len(ys)}
        rows += [{**attacked, **row} for row in found]
    written = [{**row, **_level_columns(row["level"], families.get(row["perturbation"], [0.0]))} for row in rows]
    return _with_average(written, families, average, average_top)


def _level_columns(level: float, levels: list[float]) -> dict[str, Any]:
    """Return the place of a level among its family's, from 1 (clean: 0), and the level as the work writes it."""
    severity = levels.index(level) + 1 if level else 0
    return {"severity": severity, "level_as_written": pretty_number(level)}


def attacks_of_norm(suite: Suite, norm: Literal["L2", "Linf"] | str) -> Suite:
    """Return the attacks of ``suite`` in one norm, in their order.

    Raises:
        ConfigError: there is none.
    """
    attacks = tuple((name, spec) for name, spec in suite.attacks if spec.norm == norm)
    if not attacks:
        raise ConfigError(f"accuracy_by_severity: suite '{suite.name}' has no attack in {norm}.")
    return Suite(name=suite.name, attacks=attacks)


def attack_levels(
    run: TrainedRun, x: Tensor, y: Tensor, suite: Suite, levels: list[float], scale: float, top: list[int]
) -> list[dict[str, Any]]:
    """Return rows ``level``, ``attack_eps``, ``topk``, ``value`` and the signs of gradient masking.

    Args:
        run: the trained model.
        x: clean inputs (N, ...).
        y: labels (N,).
        suite: attacks of one norm.
        levels: rising.
        scale: budget of level 1.
        top: k of every accuracy; with [1] an image broken at a level is not attacked at the larger ones.
    """
    rows: list[dict[str, Any]] = []
    known: Known | None = None
    norm = suite.attacks[0][1].norm
    for level in levels:
        state: Path | None = run.state / f"{norm}-{number_label(level)}" if run.state else None
        result = run_suite(run.model, x, y, suite, level * scale, seed=run.seed, state_dir=state, known=known)
        at = {"level": level, "attack_eps": level * scale, **result.flags}
        logits = logits_of(run.model, result.x_adv, y) if top != [1] else torch.empty(0)
        values = {k: result.robust_accuracy if k == 1 else share_in_top(logits, y, k) for k in top}
        rows += [{**at, "topk": f"top{k}", "value": value} for k, value in values.items()]
        known = Known(SMALLER, ~result.robust, result.x_adv) if top == [1] else None
    return rows


def share_in_top(logits: Tensor, y: Tensor, k: int) -> float:
    """Return the percentage of samples whose label is among the ``k`` highest logits.

    >>> share_in_top(torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2]), 2)
    50.0

    Args:
        logits: (N, C).
        y: labels (N,).
        k: at least 1; with C or more every sample counts.
    """
    highest = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return percent_true_fp32((highest == y[:, None]).any(1))


def _check_levels(families: dict[str, list[float]], average: list[float], average_top: int, top: list[int]) -> None:
    for name, levels in families.items():
        if not levels or levels[0] <= 0 or any(b <= a for a, b in itertools.pairwise(levels)):
            raise ConfigError(f"accuracy_by_severity: the levels of {name} must rise from above 0, got {levels}.")
    if not top or min(top) < 1 or (average and average_top not in top):
        raise ConfigError(f"accuracy_by_severity: top got {top}, and the average is of top {average_top}.")
    fits = len(average) == len(families) and all(a in f for a, f in zip(average, families.values(), strict=True))
    if average and not fits:
        raise ConfigError(f"accuracy_by_severity: average got {average}, allowed is one level of each of {families}.")


def _with_average(
    rows: list[dict[str, Any]], families: dict[str, list[float]], average: list[float], k: int
) -> list[dict[str, Any]]:
    """Return the rows with ``chosen``, and the mean of the chosen ones that are not clean."""
    cells = {CLEAN: 0.0, **dict(zip(families, average, strict=False))} if average else {}
    marked = [
        {**row, "chosen": row["topk"] == f"top{k}" and cells.get(row["perturbation"]) == row["level"]} for row in rows
    ]
    perturbed = [row["value"] for row in marked if row["chosen"] and row["perturbation"] != CLEAN]
    if not average:
        return marked
    mean = {"metric": "average_robust_accuracy", "value": sum(perturbed) / len(perturbed), "unit": "percent"}
    return [*marked, {**mean, "topk": f"top{k}", "chosen": True, "split": "test", "model_mode": "eval"}]
