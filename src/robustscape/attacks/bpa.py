"""BPA, the backward propagation attack: PGD with gradients that ReLUs and max-pools do not truncate.

Wang et al. (2023), eqs 7-8; ma2025 table 6.8 ("PGD-BPA"). Going backward,

    a ReLU from ``start`` on has the derivative of SiLU,  s(z) (1 + z (1 - s(z))),  s the logistic function;
    a max-pool gives input i of a window w the fraction  exp(T z_i) / sum_{j in w} exp(T z_j)  of the gradient.

The forward pass is the model's own. Every max-pool is changed, also before ``start``, as in the authors' code (where the
only max-pool of a ResNet is in the stem). The steps are those of PGD with an accumulated gradient (``decay = 0``: PGD),

    g_{t+1} = decay * g_t + grad_t / mean|grad_t|
    x_{t+1} = P( x_t + step * sign(g_{t+1}) )                       (L2: g / ||g||_2)

Cost: ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks._backward import with_backward_rule
from robustscape.attacks._momentum import cross_entropy_gradient, momentum_ascent
from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def bpa(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    random_start: bool = True,
    decay: Annotated[float, Field(ge=0)] = 0.0,
    start: Annotated[float, Field(ge=0, le=1)] = 0.5,
    temperature: Annotated[float, Field(gt=0)] = 10.0,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...); it must use ReLUs or max-pools.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        random_start: start at a uniform point of the ball, else at ``x``.
        decay: weight of the accumulated gradient (mu).
        start: fraction of the residual units (or, in nets without units, of the ReLUs) that stay exact.
        temperature: T above; the larger, the more of a max-pool's gradient goes to the maximum.
    """
    smooth = with_backward_rule(model, "smooth", start=start, temperature=temperature)
    step = step_length(x, threat, step_size, rel_step_size, steps)
    begin = threat.random_point(x, generator) if random_start else x
    return momentum_ascent(
        lambda point, _: cross_entropy_gradient(smooth, point, y),
        x,
        threat,
        steps=steps,
        step=step,
        decay=decay,
        start=begin,
    )
