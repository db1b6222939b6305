"""Carlini and Wagner's margin loss, maximised by projected gradient steps.

Carlini & Wagner (2017), f_6; kim2023 eq 3.4 with its sign corrected (as printed, ascent would move away from the decision
boundary):

    l(x') = -max( z_y(x') - max_{j != y} z_j(x'), -kappa ) = min( margin(x'), kappa )

maximised as in PGD, from the clean input, with step 2 eps / steps. At kappa = 0 the gradient is 0 as soon as a sample is
misclassified, so adversarial examples stop just beyond the boundary, which is why they transfer badly (kim2023 section
3.1). Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.losses import margin
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import projected_ascent


def cw_linf(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    kappa: Annotated[float, Field(ge=0)] = 0.0,
    random_start: bool = False,
    targeted: bool = False,
    early_stopping: bool = False,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,), or the wanted classes when ``targeted``.
        threat: norm (L2 works too; the name is the work's), eps (a number, or one per sample) and range.
        generator: the samples' random streams; unused without ``random_start``.
        steps: gradient steps.
        step_size: length of a step in input units; None: 2 eps / steps.
        kappa: margin of misclassification beyond which a sample no longer moves.
        random_start: start at a uniform point of the ball, else at ``x``.
        targeted: whether ``y`` are wanted classes.
        early_stopping: a sample leaves the batch as soon as it is misclassified.
    """

    def limited(logits: Tensor, y: Tensor) -> Tensor:
        # Towards a target the margin max_{j != t} z_j - z_t falls, and counts as reached at -kappa.
        return margin(logits, y).clamp(min=-kappa) if targeted else margin(logits, y).clamp(max=kappa)

    return projected_ascent(
        model,
        x,
        y,
        threat,
        generator,
        objective=limited,
        steps=steps,
        step=step_length(x, threat, step_size, None, steps),
        random_start=random_start,
        targeted=targeted,
        early_stopping=early_stopping,
    )
