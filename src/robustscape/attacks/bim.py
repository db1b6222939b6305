"""Basic iterative method: projected gradient steps from the clean input, without a random start.

Kurakin et al. (2017); ma2025 eq 2.4:

    x_0 = x,    x_{t+1} = clip( P_ball( x_t + step * ascent(grad_x loss(x_t, y)) ) )

Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd


def bim(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    loss: Literal["cross_entropy", "margin", "dlr"] = "cross_entropy",
    targeted: bool = False,
    keep_best: bool = False,
    early_stopping: bool = False,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``: PGD from ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,), or the wanted classes when ``targeted``.
        threat: norm, eps (a number, or one per sample) and range.
        generator: unused.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        loss: what is maximised (minimised towards ``y`` when ``targeted``).
        targeted: whether ``y`` are wanted classes.
        keep_best: return the iterate of highest loss, else the last one.
        early_stopping: a sample leaves the batch as soon as it is misclassified.
    """
    return pgd(
        model,
        x,
        y,
        threat,
        generator,
        steps=steps,
        step_size=step_size,
        rel_step_size=rel_step_size,
        random_start=False,
        loss=loss,
        targeted=targeted,
        keep_best=keep_best,
        early_stopping=early_stopping,
    )
