"""Square attack in L1: random search over windows between which the budget is moved, without gradients.

Croce & Hein (2021), section 5, from the L2 version of Andriushchenko et al. (2020), as in AutoAttack. From a grid of bumps, each
query empties two windows and fills the first with what they held and a share of what the ball has left, in the shape of a bump of
random sign added to the old one, steeper than that of L2. Points are projected on ball and range at once, so a candidate may lie
beyond both. The search itself is that of ``square``.

Cost: that of ``square``.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._bumps import grid_of_bumps, random_windows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.l1 import l1_norm
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.square import SCHEDULED_QUERIES, search_windows


def square_l1(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    queries: Annotated[int, Field(ge=1)] = 5000,
    p_init: Annotated[float, Field(gt=0, le=1)] = 0.8,
    rescale_schedule: bool = True,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``; where none is found, the point of largest margin loss.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, C, H, W), (B, C, T), (B, T) or (B, d) inside ``threat.bounds``.
        y: labels (B,).
        threat: the ball of L1, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        queries: changes tried.
        p_init: share of the image in the first window.
        rescale_schedule: stretch or shrink the schedule of p to ``queries``; False: it is that of 10,000 queries, of
            which only the first ``queries`` are used (AutoAttack's standard version).
    """
    schedule = queries if rescale_schedule else SCHEDULED_QUERIES
    return search_windows(model, x, y, threat, generator, _bumps, _moved_bump, queries, schedule, p_init)


def _bumps(images: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """A grid of bumps, projected."""
    return threat.project(images + grid_of_bumps(images, "L1", generator), images)


def _moved_bump(
    best: Tensor, images: Tensor, share: float, threat: ThreatModel, generator: SampleGenerator
) -> tuple[Tensor, Tensor]:
    """``best`` with what two windows hold, and the ball has left, moved to the first.

    Returns:
        The points (B, C, H, W), and those that differ from ``best``, bool (B,).
    """
    channels = images.shape[1]
    delta = (best - images).flatten(2)
    first, second, bump = random_windows(images, share, "L1", generator)
    old, tiny = delta.gather(2, first), torch.finfo(delta.dtype).tiny
    shape = bump + old / old.abs().sum(2, keepdim=True).clamp_min(tiny)
    emptied = delta.scatter(2, first, 0.0).scatter(2, second, 0.0)
    held = (delta.abs().sum(2, keepdim=True) - emptied.abs().sum(2, keepdim=True)).clamp_min(0)
    eps = threat.eps_like(delta)
    spare = (eps - l1_norm(delta)).clamp_min(0) / channels
    # Times the channels, as the authors do: more than there is, which the projection takes from the smallest changes.
    fresh = shape / shape.abs().sum(2, keepdim=True).clamp_min(tiny) * (spare + held) * channels
    candidate = threat.project(images + emptied.scatter(2, first, fresh).view_as(images), images)
    return candidate, (candidate != best).flatten(1).any(1)
