"""Fast adaptive boundary attack in L1: the nearest misclassified point, by steps onto linearised decision boundaries.

Croce & Hein (2020a), algorithm 1, with the distances and projections of L1, as in AutoAttack; otherwise ``fab``. The nearest
point of a hyperplane inside the range changes few coordinates, those of the largest slope, each as far as the range lets it.

Cost: that of ``fab``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fab import fab


def fab_l1(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    each_class: bool = True,
    n_target_classes: Annotated[int, Field(ge=1)] = 9,
    iterations: Annotated[int, Field(ge=1)] = 100,
    restarts: Annotated[int, Field(ge=1)] = 1,
    alpha_max: Annotated[float, Field(ge=0, le=1)] = 0.1,
    eta: Annotated[float, Field(ge=1)] = 1.05,
    beta: Annotated[float, Field(gt=0, le=1)] = 0.9,
) -> Tensor:
    """A misclassified point within eps where one was found, else ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: the ball of L1, eps (a number, or one per sample) and range.
        generator: the samples' random streams; used from the second restart on.
        each_class: one run for each of the likeliest wrong classes; False: one run towards the nearest class of all.
        n_target_classes: how many wrong classes, if there are so many.
        iterations: steps of a run.
        restarts: runs; the first starts at ``x``, the others at a random point at half of eps.
        alpha_max: largest weight of the step that starts from ``x``.
        eta: how far beyond the hyperplane a step goes.
        beta: how far back towards ``x`` a misclassified point is pulled.
    """
    return fab(
        model,
        x,
        y,
        threat,
        generator,
        each_class=each_class,
        n_target_classes=n_target_classes,
        iterations=iterations,
        restarts=restarts,
        alpha_max=alpha_max,
        eta=eta,
        beta=beta,
    )
