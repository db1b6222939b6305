"""Distorted samples: misclassified somewhere between an input and its single-step perturbation (kim2023 equation 2.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, misclassified, predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft

#: The single step from the clean input.
FGSM = AttackSpec(attack="fgsm")

#: Samples of a forward pass.
BATCH = 1024


def distorted(model: Classifier, x: Tensor, y: Tensor, eps: float, points: int) -> tuple[Tensor, Tensor]:
    """Return the samples that are right at both ends of x + k delta but wrong somewhere between, and those right at both ends.

    delta is the single-step perturbation, k = i / (points + 1); masks, bool (N,), of a model in eval mode. Cost: 1 forward
    and input-backward pass, 2 forward passes, and one forward pass per point for the samples that are right at both ends.
    """
    return distorted_towards(model, x, craft(model, x, y, FGSM, eps, seed=0), y, points)


def distorted_towards(model: Classifier, x: Tensor, full: Tensor, y: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Return ``distorted`` for segments from ``x`` to given ends ``full``, both (N, ...)."""
    net = frozen_copy(model, x)
    counted = ~(_wrong(net, x, y) | _wrong(net, full, y))
    rows = counted.nonzero().squeeze(1)
    inside = torch.zeros_like(counted)
    if not len(rows):
        return inside, counted
    steps = torch.arange(1, points + 1) / (points + 1)
    for some in steps.split(max(1, BATCH // len(rows))):
        between = torch.cat([torch.lerp(x[rows], full[rows], step.item()) for step in some])
        inside[rows] |= _wrong(net, between, y[rows].repeat(len(some))).view(len(some), -1).any(0)
    return inside, counted


def percent_of(chosen: Tensor, counted: Tensor) -> float:
    """The share of the samples ``counted`` that are also ``chosen`` (masks of shape (N,)), in percent; NaN of none."""
    total = int(counted.sum())
    return 100.0 * int((chosen & counted).sum()) / total if total else math.nan


def _wrong(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
    return torch.cat([misclassified(predict(net, part), labels) for part, labels in parts])
