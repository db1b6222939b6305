"""Adversarial examples of a net to look at, and how often they are found: ma2025 figures 4.19 and 4.20.

Every net shows the first test images. An image that no attack breaks has no adversarial example, and one that is misclassified
without an attack needs none: both are shown as they are, and say so. Cost: the attacks.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation.accuracy_by_severity import attacks_of_norm
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.pictures import picture_columns
from robustscape.evaluation.trained_run import TrainedRun


def attacked_pictures(
    run: TrainedRun,
    *,
    suite: Suite,
    norm: Literal["L2", "Linf"],
    level: Annotated[float, Field(gt=0)],
    dimension: Annotated[int, Field(ge=1)],
    images: Annotated[int, Field(ge=1)] = 2,
    attacked_samples: Annotated[int, Field(ge=1)] = 100,
) -> list[dict[str, Any]]:
    """Return attack_success_rate (percent of the images that are right without attack), and pictures by ``image`` and ``shown``.

    ``shown`` is original or attacked, the number of a picture is perturbation_norm, and ``note`` says "not broken" or "wrong
    without attack".

    Args:
        run: the trained model and its data.
        suite: attacks, of which those in ``norm`` are evaluated together.
        norm: of the ball.
        level: its radius, as the work writes it.
        dimension: number of values of an input that a level in L2 is meant for; see ``accuracy_by_severity``.
        images: how many of the first test images are shown.
        attacked_samples: how many of them are attacked, at least ``images``.
    """
    x, y = run.subset("test", max(images, attacked_samples))
    eps = level * (math.sqrt(x[0].numel() / dimension) if norm == "L2" else 1.0)
    result = run_suite(run.model, x, y, attacks_of_norm(suite, norm), eps, seed=run.seed, state_dir=run.state)
    right = result.robust_after(1)
    shared = {"norm": norm, "level": level, "attack_eps": eps, "suite": suite.name, "split": "test", **result.flags}
    rate = percent_true(~result.robust[right])
    rows: list[dict[str, Any]] = [
        {**shared, "metric": "attack_success_rate", "value": rate, "unit": "percent", "samples": int(right.sum())}
    ]
    length = torch.inf if norm == "Linf" else 2.0
    for image in range(min(images, len(x))):
        note = "misclassified" if not right[image] else "not broken" if result.robust[image] else ""
        for shown, points in (("original", x), ("attacked", result.x_adv)):
            distance = torch.linalg.vector_norm((points[image] - x[image]).double(), length).item()
            rows.append(
                {
                    **shared,
                    "image": image,
                    "shown": shown,
                    "metric": "perturbation_norm",
                    "value": distance,
                    "unit": "1",
                }
                | {"note": note if shown == "attacked" else "", **picture_columns(points[image])}
            )
    return rows
