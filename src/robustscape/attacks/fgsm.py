"""Fast gradient sign method: one full step from the clean input.

Goodfellow et al. (2015); kim2023 section 2.2, ma2025 eq 2.1 and 2.2. With ascent(g) = sign(g) for Linf, and g /
||g||_2 for L2 (then called the fast gradient method),

    x' = clip( x + eps * ascent(grad_x loss(x, y)) )

Cost: 1 forward and 1 input-backward pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd


def fgsm(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    rel_step_size: Annotated[float, Field(gt=0)] = 1.0,
    random_start: bool = False,
    loss: Literal["cross_entropy", "margin", "dlr"] = "cross_entropy",
    targeted: bool = False,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``: PGD with one step.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,), or the wanted classes when ``targeted``.
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams; unused without ``random_start``.
        rel_step_size: length of the step as a fraction of eps; the result is projected on the ball.
        random_start: start uniformly in the ball (Wong et al. 2020, with a step of 1.25), else at ``x``.
        loss: what is maximised (minimised towards ``y`` when ``targeted``).
        targeted: whether ``y`` are wanted classes.
    """
    return pgd(
        model,
        x,
        y,
        threat,
        generator,
        steps=1,
        rel_step_size=rel_step_size,
        random_start=random_start,
        loss=loss,
        targeted=targeted,
    )
