"""kim2023 figure 3.4, a sketch there: sharp and flat maxima of a loss, and what an ascent with and without noise makes of them.

A loss of one number: a broad hill, and a narrow peak on its slope,

    l(x) = 0.1 + h exp(-((x - 0.6) / 0.35)^2) + 0.6 exp(-((x - p) / w)^2)

is the cross-entropy of a toy classifier with two classes, so that the attacks of this package climb it. The source's peak is in
the way from x = 0 up the hill; the target, another net, has the same hill and its own peak elsewhere. PGD and NIA run from 0
within a ball of radius 1. Loss on the target and variance under noise are taken where they end, over random heights, places and
widths.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.bim import bim
from robustscape.attacks.nia import nia
from robustscape.evaluation.noise_sensitivity import loss_under_noise, sample_variance
from robustscape.theory.kim2023._picture_rows import Rows, drawn_rows, number_points, outcome_row
from robustscape.theory.kim2023._toys import Array

HILL, WIDTH, PEAK, FLOOR = 0.6, 0.35, 0.6, 0.1
VIEW = "maxima"


class HillyLoss(nn.Module):
    """Logits (B, 2) of inputs (B, 1) whose cross-entropy at label 0 is the loss above; a curve of its own for every sample."""

    def __init__(self, height: Tensor, place: Tensor, width: Tensor) -> None:
        super().__init__()
        self.height, self.place, self.width = height, place, width

    def loss(self, x: Tensor) -> Tensor:
        """Return l(x), (B,)."""
        hill = self.height * torch.exp(-(((x[:, 0] - HILL) / WIDTH) ** 2))
        return FLOOR + hill + PEAK * torch.exp(-(((x[:, 0] - self.place) / self.width) ** 2))

    def forward(self, x: Tensor) -> Tensor:
        wrong = torch.log(torch.expm1(self.loss(x)))  # CE = log(1 + exp(wrong))
        return torch.stack([torch.zeros_like(wrong), wrong], dim=1)


def sharp_and_flat_maxima(
    *,
    draws: Annotated[int, Field(ge=2)] = 300,
    steps: Annotated[int, Field(ge=2)] = 100,
    seed: int = 0,
) -> Rows:
    """Return the rows of the picture, of the first curve, and of the outcomes: means over all curves.

    Args:
        draws: random curves.
        steps: of both attacks; a step is 2 / steps.
        seed: of curves and noise.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(draws, generator=generator, dtype=torch.float64)

    height = uniform(0.8, 1.2)
    place, width = uniform(0.15, 0.4), uniform(0.02, 0.06)
    source = HillyLoss(height, place, width)
    target = HillyLoss(height, uniform(0.7, 0.9), uniform(0.02, 0.06))
    x, y = torch.zeros(draws, 1, dtype=torch.float64), torch.zeros(draws, dtype=torch.int64)
    threat = ThreatModel("Linf", 1.0, None)
    streams = SampleGenerator.seeded(seed, draws)
    ends = {
        "PGD": bim(source, x, y, threat, streams, steps=steps, rel_step_size=2 / steps),
        "NIA": nia(source, x, y, threat, streams, steps=steps),
    }
    rows = _picture(source, target, ends)
    ball = ThreatModel("Linf", 0.2, None)
    for method, end in ends.items():
        losses = {name: cross_entropy(net(end), y) for name, net in (("source", source), ("target", target))}
        variance = sample_variance(loss_under_noise(source, end, y, ball, seed=seed, draws=50, batch_size=draws))
        at_peak = ((end[:, 0] - place).abs() < 2 * width).double()
        numbers = {
            "sample_variance": variance,
            "loss_on_source": losses["source"],
            "loss_on_target": losses["target"],
            "share_at_the_sharp_maximum": at_peak,
        }
        for metric, value in numbers.items():
            rows += outcome_row(VIEW, metric, float(value.mean()), method=method, curves=draws, steps=steps)
    return number_points(rows)


def _picture(source: HillyLoss, target: HillyLoss, ends: dict[str, Tensor]) -> Rows:
    """Return the rows of the first curve on both nets, and of where the attacks end on them."""
    along = np.linspace(-0.2, 1.0, 241)

    def height(net: HillyLoss, at: Array) -> Array:
        first = HillyLoss(*(value[:1].expand(len(at)) for value in (net.height, net.place, net.width)))
        return np.asarray(first.loss(torch.from_numpy(at)[:, None]))

    rows: Rows = []
    for panel, net in (("source", source), ("target", target)):
        loss = height(net, along)
        rows += drawn_rows(VIEW, "curve", along, loss, loss, panel=panel, method="loss")
        for method, end in ends.items():
            at = np.asarray(end[:1, 0])
            mark = height(net, at)
            rows += drawn_rows(VIEW, "dots", at, mark, mark, panel=panel, method=method)
    return rows
