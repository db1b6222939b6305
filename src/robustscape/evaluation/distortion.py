"""Distortion of the decision boundary: correct at both ends of the single-step perturbation, wrong in between.

kim2023 equation 2.5. With delta = eps sign(grad_x loss(x, y)), from the clean input,

    d = |S_D n S_N| / |S_N|,    S_N = {x : f(x) = y and f(x + delta) = y},    S_D = {x : f(x + k delta) != y for some k in (0, 1)}

k runs over equally spaced interior points, so d never exceeds the d of a finer grid that contains them. A model whose loss is
linear has none; nor has any linear classifier of two classes, since a half-space meets a segment in a segment. Cost: 1 forward
and input-backward pass, 2 forward passes, and a forward pass per point for the samples of S_N.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.evaluation.harness.distorted import FGSM, distorted, percent_of
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def distortion(
    run: TrainedRun,
    *,
    points: Annotated[int, Field(ge=1)] = 100,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Return one row distortion (percent); NaN if no sample is classified correctly at both ends.

    Args:
        run: the trained model and its data.
        points: interior points of the segment, k = i / (points + 1).
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
    """
    attack_eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    inside, counted = distorted(run.model, x, y, attack_eps, points)
    shared = {
        "points": points,
        "right_at_both_ends": int(counted.sum()),
        **protocol_columns(FGSM, attack_eps, split, len(y)),
    }
    return [{"metric": "distortion", "value": percent_of(inside, counted), "unit": "percent", **shared}]
