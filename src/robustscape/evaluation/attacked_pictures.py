"""Adversarial examples of several nets to look at, and how often they are found: ma2025 figures 4.19 and 4.20.

Which images the work shows is not stated. Here all nets show the same ones: those that the most nets classify correctly without
an attack and not under it, of equal ones the first. An image that no attack breaks has no adversarial example, and one that is
misclassified without an attack needs none: both are shown as they are, and say so. Cost: the attacks, on every net.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import Suite
from robustscape.evaluation.accuracy_by_severity import attacks_of_norm
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.pictures import picture_columns
from robustscape.evaluation.trained_run import TrainedRun, require_one_dataset


def attacked_pictures(
    runs: list[TrainedRun],
    *,
    suite: Suite,
    norm: Literal["L2", "Linf"],
    level: Annotated[float, Field(gt=0)],
    dimension: Annotated[int, Field(ge=1)],
    images: Annotated[int, Field(ge=1)] = 2,
    attacked_samples: Annotated[int, Field(ge=1)] = 100,
) -> list[dict[str, Any]]:
    """Return attack_success_rate (percent of the images that a net has right without attack), and pictures by ``image``.

    ``shown`` is original, once for all nets, or attacked; the number of a picture is perturbation_norm, and ``note`` says "not
    broken" or "misclassified". ``place`` is the image's place in the test split.

    Args:
        runs: trained models on one data set.
        suite: attacks, of which those in ``norm`` are evaluated together.
        norm: of the ball.
        level: its radius, as the work writes it.
        dimension: number of values of an input that a level in L2 is meant for; see ``accuracy_by_severity``.
        images: how many images are shown.
        attacked_samples: the first test images, which are attacked and of which those are chosen, at least ``images``.

    Raises:
        ConfigError: the runs have different data sets.
    """
    require_one_dataset("attacked_pictures", runs)
    x, y = runs[0].subset("test", max(images, attacked_samples))
    eps = level * (math.sqrt(x[0].numel() / dimension) if norm == "L2" else 1.0)
    shared = {"norm": norm, "level": level, "attack_eps": eps, "suite": suite.name, "split": "test"}
    attacks = attacks_of_norm(suite, norm)
    results = [
        run_suite(run.model, x, y, attacks, eps, seed=run.seed, state_dir=run.state / str(n) if run.state else None)
        for n, run in enumerate(runs)
    ]
    right = [result.robust_after(1) for result in results]
    rows: list[dict[str, Any]] = []
    for run, result, clean in zip(runs, results, right, strict=True):
        rate = {"metric": "attack_success_rate", "value": percent_true(~result.robust[clean]), "unit": "percent"}
        rows.append({**run.names, **shared, **result.flags, **rate, "samples": int(clean.sum())})
    losses = torch.stack([clean & ~result.robust for clean, result in zip(right, results, strict=True)]).sum(0)
    places = losses.argsort(descending=True, stable=True)[:images].sort().values.tolist()
    for number, place in enumerate(places):
        picture = {**shared, "image": number, "place": place, "metric": "perturbation_norm", "unit": "1"}
        named = {key: runs[0].names[key] for key in ("dataset", "architecture")}
        rows.append({**named, **picture, "shown": "original", "value": 0.0, "note": "", **picture_columns(x[place])})
        for run, result, clean in zip(runs, results, right, strict=True):
            note = "misclassified" if not clean[place] else "not broken" if result.robust[place] else ""
            found = {"shown": "attacked", "value": _distance(result.x_adv[place], x[place], norm), "note": note}
            rows.append({**run.names, **picture, **result.flags, **found, **picture_columns(result.x_adv[place])})
    return rows


def _distance(point: Tensor, x: Tensor, norm: Literal["L2", "Linf"]) -> float:
    return torch.linalg.vector_norm((point - x).double(), torch.inf if norm == "Linf" else 2.0).item()
