"""PGD on the cross-entropy from x + 0.001 N(0, I): the inner maximisation of MART in its authors' code (Wang et al. 2020).

As ``pgd`` but for its start, which is that of TRADES. ma2025 appendix 3.A. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel


def near_start_pgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    start_std: Annotated[float, Field(gt=0)] = 0.001,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        start_std: standard deviation of the noise of the start, in input units.
    """
    step = step_length(x, threat, step_size, rel_step_size, steps)
    point = threat.project(x + start_std * generator.normal(x.shape[1:]).to(x), x)
    for _ in range(steps):
        _, _, gradient = input_gradient(model, point, y, cross_entropy)
        point = threat.project(point + step * threat.ascent(gradient), x)
    return point
