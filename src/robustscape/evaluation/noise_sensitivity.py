"""Sensitivity of adversarial examples to noise added to them (kim2023 sections 3.2 and 3.3).

The noise n is uniform in a small ball (the works: U[-eps/5, eps/5] in every coordinate). It depends on the sample and
the number of the draw only, so it is the same for every model and attack. It is neither projected on the attack's
ball nor clipped to the legal range.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, frozen
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.evaluation.harness.craft import BATCH_SIZE

#: The noise's own random stream, apart from those of an attack with the same seed.
STREAM = 0x6E6F697365


def uniform_noise(x: Tensor, threat: ThreatModel, seed: int, draw: int) -> Tensor:
    """Return draw number ``draw`` of every sample's noise, uniform in the ball of ``threat``: the shape of ``x``."""
    generator = SampleGenerator.seeded(seed, x.shape[0], x.device).fork(STREAM).fork(draw)
    return replace(threat, bounds=None).random_offset(x, generator)


def loss_under_noise(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    seed: int,
    draws: int = 5,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Return the cross-entropy at x + n for each draw, (draws, N), in nats. Cost: ``draws`` forward passes.

    Args:
        model: logits (B, C) from inputs (B, ...); asked in eval mode.
        x: inputs (N, ...), adversarial or not.
        y: labels (N,).
        threat: its ball is the noise's.
        seed: of the noise.
        draws: number of draws of the noise.
        batch_size: of a forward pass.
    """
    rows = []
    with torch.no_grad(), frozen(model):
        for draw in range(draws):
            noisy = x + uniform_noise(x, threat, seed, draw)
            batches = zip(noisy.split(batch_size), y.split(batch_size), strict=True)
            rows.append(torch.cat([cross_entropy(model(inputs), labels) for inputs, labels in batches]))
    return torch.stack(rows)


def sample_variance(losses: Tensor) -> Tensor:
    """Return SV of each sample, (N,) (kim2023 eq 3.11): E[l^2] - E[l]^2 over the draws of ``losses`` (draws, N).

    It grows with the loss: examples near the boundary have small losses and small variances. Divide the mean SV by the
    mean squared loss to compare attacks of different strength.
    """
    return losses.var(0, correction=0)


def nullified_ratios(right: Tensor, right_noisy: Tensor) -> tuple[float, float]:
    """Return the percentage of adversarial examples that noise undoes, in both readings of kim2023 eq 3.10.

    Args:
        right: whether x' is classified correctly, bool (N,).
        right_noisy: the same for x' + n, bool (draws, N).

    Returns:
        ``P[f(x' + n) = y | f(x') != y]``, the definition; and ``1 - P[f(x' + n) != y] / P[f(x') != y]``, what the
        work's tables hold. They agree unless noise makes a failed example succeed; the second can be negative. NaN
        without any success.
    """
    broken = ~right
    if not broken.any():
        return float("nan"), float("nan")
    conditional = right_noisy[:, broken].double().mean().item()
    ratio = 1 - (~right_noisy).double().mean().item() / broken.double().mean().item()
    return 100 * conditional, 100 * ratio
