"""Robust accuracy at several eps in one go.

Evaluating an attack anew at every eps costs as many attacks as there are eps. Here eps is a number of each sample: a
sample looks for the smallest eps at which it falls by bisection, and samples at different eps share a batch. This
rests on one statement: **a sample fooled at some eps is fooled at every larger eps**, because the smaller ball lies
inside the larger one. It is true of the best attack; of an actual attack it makes the curve an upper bound that never
rises.

A found point may lie well inside its ball; then the sample is fooled from that distance on, at no cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustscape.attacks.craft import Progress, accuracy, craft, survives
from robustscape.attacks.gradients import Classifier
from robustscape.attacks.threat import Threat
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError


@dataclass(frozen=True)
class EpsCurve:
    """Where each sample falls."""

    epsilons: tuple[float, ...]
    """Radii, rising."""
    falls_at: Tensor
    """Position in ``epsilons`` of the smallest eps at which a sample is fooled, int64 (N,); their number if at none."""
    attacks: float
    """Attacks a sample, on average: the cost, in units of one evaluation at one eps."""

    def robust_accuracy(self) -> list[float]:
        """Percent, at each eps."""
        return [accuracy(self.falls_at > position) for position in range(len(self.epsilons))]


def eps_curve(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    epsilons: Sequence[float],
    *,
    seed: int,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EpsCurve:
    """Robust accuracy of ``model`` under ``spec`` at every eps: at most 1 + log2(len(epsilons)) attacks a sample.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...).
        y: labels (N,).
        spec: the attack and its protocol; steps should be relative to eps (``rel_step_size``).
        epsilons: radii, rising, none negative.
        seed: of the samples' random streams.
        batch_size: samples of a pass; None: what suits the device.
        progress: called with (rounds done, rounds) after each round of bisection.
    """
    radii = torch.tensor(list(epsilons), dtype=x.dtype)
    if not len(radii) or (radii < 0).any() or (radii.diff() <= 0).any():
        raise ConfigError(f"the epsilons of a curve must rise from 0 or above, got {list(epsilons)}.")
    count, spent = len(radii), 0
    everyone = torch.arange(len(x))
    right = survives(model, x, y, batch_size=batch_size).cpu()
    # The answer lies in [low, high]: not fooled at positions below low, fooled from high on (count: never).
    low = torch.zeros(len(x), dtype=torch.int64)
    high = torch.where(right, count, 0)
    if radii[0] == 0:
        low[right] = 1
    rounds = count.bit_length()
    for step in range(rounds):
        open_ = everyone[low < high]
        if not len(open_):
            break
        middle = (low[open_] + high[open_]) // 2
        eps = radii[middle]
        found = craft(model, x[open_], y[open_], spec, eps, seed=seed, batch_size=batch_size, index=open_)
        spent += len(open_)
        wrong = ~survives(model, found, y[open_], batch_size=batch_size, name=spec.attack).cpu()
        distance = Threat(spec.norm, eps, spec.bounds).distance(found, x[open_]).cpu()
        # The first eps that holds the point found; rounding must not push it beyond the one just tested.
        reached = torch.minimum(torch.searchsorted(radii, distance * (1 - 1e-6)), middle)
        high[open_] = torch.where(wrong, torch.maximum(reached, low[open_]), high[open_])
        low[open_] = torch.where(wrong, low[open_], middle + 1)
        if progress is not None:
            progress(step + 1, rounds)
    return EpsCurve(tuple(float(e) for e in epsilons), high, spent / max(len(x), 1))
