"""PGD on the KL divergence from the clean prediction: the inner maximisation of TRADES (Zhang et al. 2019).

    max_{x' in B(x, eps)} KL( p(x) || p(x') ),      x_{t+1} = P( x_t + step ascent(grad_x KL(p(x) || p(x_t))) )

with p = softmax f, and p(x) constant. At x itself the divergence and its gradient are 0, so the search starts elsewhere:
at x + 0.001 N(0, I), as in the authors' code, or uniformly in the ball. Labels are not used. kanai2022 appendix F.2, kim2023
eq 3.8. Cost: 1 forward pass, and ``steps`` forward and input-backward passes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, input_gradient, predict
from robustscape.attacks.base.threat import ThreatModel


def kl_pgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    start: Literal["gaussian", "uniform"] = "gaussian",
    start_std: Annotated[float, Field(gt=0)] = 0.001,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,), not used.
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        start: "gaussian": ``x`` plus Gaussian noise, projected on the ball; "uniform": a uniform point of the ball.
        start_std: standard deviation of the Gaussian noise, in input units.
    """
    clean = predict(model, x)
    step = step_length(x, threat, step_size, rel_step_size, steps)
    if start == "uniform":
        point = threat.random_point(x, generator)
    else:
        point = threat.project(x + start_std * generator.normal(x.shape[1:]).to(x), x)
    for _ in range(steps):
        _, _, gradient = input_gradient(model, point, clean, kl_divergence)
        point = threat.project(point + step * threat.ascent(gradient), x)
    return point


def kl_divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """Return KL(p_clean || p) per sample, (B,), in nats, from both logits (B, C).

    >>> import torch
    >>> certain, uniform = torch.tensor([[100.0, 0.0]]), torch.zeros(1, 2)
    >>> round(kl_divergence(uniform, clean=certain).item(), 4)  # log 2
    0.6931
    """
    return F.kl_div(F.log_softmax(logits, 1), F.log_softmax(clean, 1), reduction="none", log_target=True).sum(1)
