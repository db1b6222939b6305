"""MMA: max-margin adversarial training (Ding et al. 2020; a baseline of ma2025 chapter 3).

    2/3 (1/B) [ sum_{right, e_i < d_max} CE(x_i + e_i u_i) + sum_{wrong} CE(x_i) ] + 1/3 mean_n CE(x_n)

Wrong are samples whose soft margin log sum_{j != y} exp z_j - z_y is at or above 0. Of the right ones the margin e_i is
looked for: PGD on the soft margin in a ball of radius r_i gives a direction u_i = (x_adv - x)/r_i, and bisection the radius in
[0, 1.05 d_max] at which the soft margin along u_i is 0. Points of the bisection are clipped to the range, the point that is
trained on is not (authors' code, BorealisAI/mma_training; the constants are its). All before the update runs in eval mode.

One thing differs: there r_i is the margin that was found for the sample in the epoch before, here the one found in a round
before, at the same weights and from ``rel_start`` eps: no memory of single samples has to outlive an update. Cost with ``rounds``
2, ``steps`` 10 and 10 bisections: 43 forward and 20 input-backward passes of the right samples, and 2 forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.gradients import frozen, predict
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import projected_ascent
from robustscape.training.attack import TrainingAttack

#: The search goes this much beyond d_max, so that a margin of d_max can be told from a larger one.
BEYOND = 1.05

#: Length of a step of PGD times its number of steps, over the radius.
TRAVEL = 2.5

#: Share of the clean loss.
CLEAN_SHARE = 1 / 3


def mma(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    rel_margin: Annotated[float, Field(gt=0)] = 1.5,
    rel_start: Annotated[float, Field(gt=0)] = 51 / 320,
    steps: Annotated[int, Field(ge=1)] = 10,
    bisections: Annotated[int, Field(ge=1)] = 10,
    rounds: Annotated[int, Field(ge=1)] = 2,
) -> Callable[[], Tensor]:
    """Return the loss above as an objective; margins and points are found once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: its norm, eps and random streams; it is not called.
        rel_margin: d_max, as a multiple of eps: 1.5 is 12/255 at 8/255.
        rel_start: radius of the first ball, and the least one, as a multiple of eps: 51/320 is 0.005 at 8/255.
        steps: steps of PGD in a round.
        bisections: forward passes of a bisection.
        rounds: how often PGD and bisection are done, each round at the radius that the one before has found.
    """
    eps = float(attack.threat.eps)
    with frozen(model):
        right = soft_margin(predict(model, x), y) < 0
        index = right.nonzero().squeeze(1)
        if eps and len(index):
            found, radius = _margin_points(
                model, x[index], y[index], attack, index, rel_margin * eps, rel_start * eps, steps, bisections, rounds
            )
            near = radius < rel_margin * eps
            index, points = index[near], found[near]
        else:
            index, points = index[:0], x[:0]
    labels, wrong = y[index], ~right

    def loss() -> Tensor:
        clean = F.cross_entropy(model(x), y, reduction="none")
        pulled = (clean * wrong).sum()
        if len(points):
            pulled = pulled + F.cross_entropy(model(points), labels, reduction="sum")
        return (1 - CLEAN_SHARE) * pulled / len(y) + CLEAN_SHARE * clean.mean()

    return loss


def soft_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return log sum_{j != y} exp z_j - z_y, (B,); below 0 the label's logit is above all others together."""
    return logits.scatter(1, y[:, None], -torch.inf).logsumexp(1) - logits.gather(1, y[:, None]).squeeze(1)


def _margin_points(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    index: Tensor,
    d_max: float,
    least: float,
    steps: int,
    bisections: int,
    rounds: int,
) -> tuple[Tensor, Tensor]:
    """Return the points x + e u (b, ...) of soft margin 0 and their radii e (b,); arguments as in ``mma``, of right samples."""
    radius = torch.zeros(len(x), device=x.device)
    direction = torch.zeros_like(x)
    for number in range(rounds):
        start = radius.clamp_min(least)
        ball = replace(attack.threat, eps=start)
        found = projected_ascent(
            model,
            x,
            y,
            ball,
            attack.generator.select(index).fork(number),
            objective=soft_margin,
            steps=steps,
            step=per_sample(TRAVEL / steps * start, x),
            random_start=True,
        )
        direction = (found - x) / per_sample(start, x)
        radius = zero_along(model, x, y, ball, direction, start, BEYOND * d_max, bisections)
    return x + per_sample(radius, x) * direction, radius


def zero_along(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: ThreatModel,
    direction: Tensor,
    start: Tensor,
    most: float,
    bisections: int,
) -> Tensor:
    """Return the radius (B,) in [0, ``most``] at which the soft margin along ``direction`` crosses 0, by bisection.

    ``most`` where it stays below 0. Cost: ``bisections`` forward passes.

    Args:
        model: logits (B, C).
        x: inputs (B, ...).
        y: labels (B,).
        ball: whose range points are clipped to.
        direction: (B, ...).
        start: the radius that is looked at first, (B,).
        most: largest radius.
        bisections: number of looks.
    """
    low, high, radius = torch.zeros_like(start), torch.full_like(start, most), start.clamp_max(most)
    for _ in range(bisections):
        safe = soft_margin(predict(model, ball.clip(x + per_sample(radius, x) * direction)), y) < 0
        low, high = torch.where(safe, radius, low), torch.where(safe, high, radius)
        radius = (low + high) / 2
    return radius
