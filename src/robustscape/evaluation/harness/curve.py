"""Robust accuracy at several eps in one go.

Evaluating an attack anew at every eps costs as many attacks as there are eps. Here eps is a number of each sample: a
sample looks, by bisection, for the smallest eps at which it is broken, and samples at different eps share a batch. This
rests on one statement: **a sample broken at some eps is broken at every larger eps**, because the smaller ball lies
inside the larger one. It is true of the best attack; of an actual attack it makes the curve an upper bound that never
rises.

A found point may lie well inside its ball; then the sample is broken from that distance on, at no cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.harness.craft import Progress, correctly_classified, craft
from robustscape.evaluation.percentages import percent_true_fp32


@dataclass(frozen=True)
class EpsCurve:
    """The eps at which each sample is broken."""

    eps_values: tuple[float, ...]
    """Perturbation budgets, rising."""
    broken_at: Tensor
    """Position in ``eps_values`` of the smallest eps at which a sample is broken, int64 (N,); their number if at none."""
    attacks: float
    """Attacks per sample, on average: the cost, in units of one evaluation at one eps."""

    def robust_accuracy(self) -> list[float]:
        """Percent, at each eps."""
        return [percent_true_fp32(self.broken_at > position) for position in range(len(self.eps_values))]


def eps_curve(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    eps_values: Sequence[float],
    *,
    seed: int,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EpsCurve:
    """Robust accuracy of ``model`` under ``spec`` at every eps: at most 1 + log2(len(eps_values)) attacks per sample.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...).
        y: labels (N,).
        spec: the attack and its protocol; steps should be relative to eps (``rel_step_size``).
        eps_values: perturbation budgets, rising, none negative.
        seed: of the samples' random streams.
        batch_size: samples of a pass; None: what suits the device.
        progress: called with (rounds done, rounds) after each round of bisection.
    """
    values = torch.tensor(list(eps_values), dtype=x.dtype)
    if not len(values) or (values < 0).any() or (values.diff() <= 0).any():
        raise ConfigError(f"the eps_values of a curve must rise from 0 or above, got {list(eps_values)}.")
    count, spent = len(values), 0
    everyone = torch.arange(len(x))
    right = correctly_classified(model, x, y, batch_size=batch_size).cpu()
    # The answer lies in [low, high]: not broken at positions below low, broken from high on (count: never).
    low = torch.zeros(len(x), dtype=torch.int64)
    high = torch.where(right, count, 0)
    if values[0] == 0:
        low[right] = 1
    rounds = count.bit_length()
    for step in range(rounds):
        open_ = everyone[low < high]
        if not len(open_):
            break
        middle = (low[open_] + high[open_]) // 2
        eps = values[middle]
        found = craft(model, x[open_], y[open_], spec, eps, seed=seed, batch_size=batch_size, index=open_)
        spent += len(open_)
        wrong = ~correctly_classified(model, found, y[open_], batch_size=batch_size, name=spec.attack).cpu()
        distance = ThreatModel(spec.norm, eps, spec.bounds).distance(found, x[open_]).cpu()
        # The first eps that holds the point found; rounding must not push it beyond the one just tested.
        reached = torch.minimum(torch.searchsorted(values, distance * (1 - 1e-6)), middle)
        high[open_] = torch.where(wrong, torch.maximum(reached, low[open_]), high[open_])
        low[open_] = torch.where(wrong, low[open_], middle + 1)
        if progress is not None:
            progress(step + 1, rounds)
    return EpsCurve(tuple(float(e) for e in eps_values), high, spent / max(len(x), 1))
