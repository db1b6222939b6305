"""Group-loss PGD: untargeted PGD on the probability of the superclass, for any model.

Not in ma2025: an untargeted variant of its chapter 5. With z* the superclass of y and p = softmax f,

    loss(x, y) = -log sum_{j in z*} p_j(x)
    x_0        = x + uniform in the ball           (random_start) or x
    x_{t+1}    = P( x_t + step * sign(grad_x loss(x_t, y)) )                    (L2: g / ||g||_2)

In a hierarchical network, where the probability of a class is that of its superclass times that of the leaf, the sum is
the probability given by the meta-classifier, and the attack is PGD-Meta. Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._hierarchy import group_loss
from robustscape.attacks._momentum import momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, input_gradient
from robustscape.attacks.base.threat import ThreatModel


def group_loss_pgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    superclass: list[int],
    steps: Annotated[int, Field(ge=1)] = 20,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    random_start: bool = True,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (or log-probabilities) (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: classes (B,), not superclasses.
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        superclass: the superclass of each class 0, 1, ..., C - 1.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        random_start: start at a uniform point of the ball, else at ``x``.
    """
    objective = group_loss(superclass)
    step = step_length(x, threat, step_size, rel_step_size, steps)
    start = threat.random_point(x, generator) if random_start else x
    return momentum_ascent(
        lambda point, _: input_gradient(model, point, y, objective)[2], x, threat, steps=steps, step=step, start=start
    )
