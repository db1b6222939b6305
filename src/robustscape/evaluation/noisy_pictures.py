"""Test images under Gaussian noise, to look at: ma2025 figure 4.18. The net is not used."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.pictures import picture_columns
from robustscape.evaluation.trained_run import TrainedRun


def noisy_pictures(
    run: TrainedRun, *, variance: Annotated[float, Field(gt=0)], images: Annotated[int, Field(ge=1)] = 4
) -> list[dict[str, Any]]:
    """Return pictures by ``image`` and ``shown`` (original, noisy), each with perturbation_norm (L2) as its number.

    Args:
        run: its test images.
        variance: of the noise, which is clipped to [0, 1] with the image.
        images: how many of the first test images.
    """
    x, y = run.subset("test", images)
    spec = AttackSpec(attack="gaussian_noise", parameters={"variance": variance})
    noisy = craft(run.model, x, y, spec, math.inf, seed=run.seed)
    rows = []
    for image in range(len(x)):
        for shown, points in (("original", x), ("noisy", noisy)):
            norm = (points[image] - x[image]).double().norm().item()
            rows.append(
                {"image": image, "shown": shown, "metric": "perturbation_norm", "value": norm, "unit": "1"}
                | {"variance": variance, "split": "test", **picture_columns(points[image])}
            )
    return rows
