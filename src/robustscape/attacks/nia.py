"""NIA, the noise-injected attack: PGD whose gradients are taken at noisy points.

kim2023 eq 3.12, a surrogate for max_delta E_n CE(f(x + delta + n), y) (eq 3.14):

    n_t     ~ U[-noise * eps, noise * eps]^d, drawn in every step               (L2: uniform in noise times the ball)
    x_{t+1} = P( x_t + step * sign(grad_x CE(f(x_t + n_t), y)) ),   x_0 = x     (L2: g / ||g||_2)

The noise enters the gradient only: it is neither added to the iterate nor projected. A random start, by contrast, adds
noise once, to the iterate. Cost: ``steps`` forward and input-backward passes, as PGD.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def nia(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] | None = None,
    noise: Annotated[float, Field(ge=0)] = 1.0,
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
        rel_step_size: length of a step as a fraction of eps; None: 2 / steps, as in the work.
        noise: size of the noise as a multiple of eps; 0 is BIM.
    """
    step = step_length(x, threat, step_size, rel_step_size, steps)

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        return cross_entropy_gradient(model, point + noise * threat.random_offset(x, generator), y)

    return momentum_ascent(direction, x, threat, steps=steps, step=step)
