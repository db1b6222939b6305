"""Carlini and Wagner's attack of smallest norm: Adam on the perturbation's size plus the margin, inside the ball.

Carlini & Wagner (2017) section 6.1; kim2023 eq 3.5, the form for audio of Carlini & Wagner (2018), with l of eq 3.4:

    minimise  ||delta||_2^2 + c max( z_y(x + delta) - max_{j != y} z_j(x + delta), -kappa )     such that dB_x(delta) < tau

A step is one of Adam (betas 0.9 and 0.999), then the projection on ball and range: for waveforms eps is a tenth of the clip's
peak at tau = -20 dB, and delta is clamped to [-eps, eps]. That takes the place of the tanh of Carlini & Wagner (2017), whose ball
is the range alone. The result is the iterate of smallest ||delta||_2 that is misclassified by kappa or more, the clean input
among them, else the last one. So it lies at the decision boundary even where the ball is far wider: ``cw_linf`` stops there, too,
but after steps of the length 2 eps / steps in every coordinate.

A small c leaves samples unbroken, a large one a larger delta. Carlini & Wagner (2017) search c for each sample: times 10 until it
is broken, then halfway between the largest that failed and the smallest that did not. Equation 3.5 has one c. Cost:
``search_steps`` times (``steps`` forward and input-backward passes, and one forward pass).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._step_length import step_length
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, predict
from robustscape.attacks.base.losses import margin
from robustscape.attacks.base.scaling import l2_norm, per_sample
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import ThreatModel

#: Decay of Adam's means of the gradient and of its square, and what is added to the root of the latter (Kingma & Ba 2015).
BETAS, EPSILON = (0.9, 0.999), 1e-8

#: By what c grows while a sample is not broken.
GROWTH = 10.0


def cw_l2(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 100,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.1,
    c: Annotated[float, Field(gt=0)] = 1.0,
    kappa: Annotated[float, Field(ge=0)] = 0.0,
    search_steps: Annotated[int, Field(ge=1)] = 9,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm (of the ball; what is minimised is L2), eps (a number, or one per sample) and range.
        generator: not used: nothing here is random.
        steps: steps of Adam for each c.
        step_size: Adam's learning rate in input units; None: ``rel_step_size`` times eps.
        rel_step_size: the same as a fraction of eps.
        c: weight of the margin, the first one of the search.
        kappa: margin of misclassification that is asked for.
        search_steps: how many c are tried, each from ``x``; 1: none but the first.
    """
    net, rate = search_model(model), step_length(x, threat, step_size, rel_step_size, steps)
    best, smallest = x, x.new_full((len(x),), torch.inf)
    weight, low, high = x.new_full((len(x),), c), x.new_zeros(len(x)), x.new_full((len(x),), torch.inf)
    for _ in range(search_steps):
        point, length = _minimise(net, x, y, threat, weight, rate=rate, steps=steps, kappa=kappa)
        found = length < torch.inf
        # As long as no c has broken a sample, the last point of the largest one counts.
        better = (length < smallest) | ~(smallest < torch.inf)
        best, smallest = torch.where(per_sample(better, x), point, best), torch.minimum(smallest, length)
        low, high = torch.where(found, low, weight), torch.where(found, weight, high)
        weight = torch.where(high < torch.inf, (low + high) / 2, weight * GROWTH)
    return best


def _minimise(
    net: SearchModel,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    weight: Tensor,
    *,
    rate: Tensor | float,
    steps: int,
    kappa: float,
) -> tuple[Tensor, Tensor]:
    """Return, for a c of each sample (B,), the smallest delta that succeeds, as x + delta (B, ...), and its length (B,).

    Where none succeeds it is the last one, and its length infinite.
    """
    point, best, smallest = x, x, x.new_full((len(x),), torch.inf)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)

    def limited(logits: Tensor, y: Tensor) -> Tensor:
        return -margin(logits, y).clamp(max=kappa)

    for step in range(steps + 1):
        last = step == steps
        logits, _, gradient = (predict(net.search, point), None, x) if last else net.gradient(point, y, limited)
        delta = point - x
        length = l2_norm(delta).flatten()
        succeeds = net.broken(point, y, logits) & (margin(logits, y) >= kappa)
        better = succeeds & (length < smallest)
        best, smallest = torch.where(per_sample(better, x), point, best), torch.where(better, length, smallest)
        if not last:
            gradient = 2 * delta + per_sample(weight, x) * gradient
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient.square()
            root = (square / (1 - BETAS[1] ** (step + 1))).sqrt() + EPSILON
            point = threat.project(point - rate * mean / (1 - BETAS[0] ** (step + 1)) / root, x)
    return torch.where(per_sample(smallest < torch.inf, x), best, point), smallest
