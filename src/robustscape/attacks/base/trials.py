"""Several trials of an attack on the same samples, computed together: a trial is a restart, or one for a target class.

Small batches leave a machine idle, so trials share passes. A *row* is a sample in a trial. All rows of a sample leave as soon as
one of them breaks it. Random streams belong to a sample and a trial, so sharing changes results by float rounding only. One
exception: where several trials would break a sample, the adversarial example returned is that of the trial that needs the fewest
steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel


@dataclass
class Rows:
    """Rows of a batch."""

    place: Tensor
    """Position in the batch, int64 (R,)."""
    sample: Tensor
    """Number of the sample, int64 (R,)."""
    trial: Tensor
    """Number of the trial, int64 (R,)."""
    x: Tensor
    y: Tensor
    threat: ThreatModel
    generator: SampleGenerator

    def select(self, keep: Tensor) -> Rows:
        """The rows where the mask ``keep`` (R,) is true."""
        return Rows(*select_rows(keep, *vars(self).values()))

    def with_samples_of(self, some: Tensor) -> Tensor:
        """All rows of the samples that have a row in the mask ``some`` (R,), bool (R,)."""
        return torch.isin(self.sample, self.sample[some])


@dataclass
class Found:
    """The points that the trials have found, per row of a batch."""

    point: Tensor
    """(R, ...)."""
    value: Tensor
    """Of the attack's objective, (R,); -inf: nothing worth keeping."""
    broken: Tensor
    """Rows that broke their sample, bool (R,)."""

    @classmethod
    def nothing(cls, x: Tensor) -> Found:
        """Return ``x`` (R, ...) with the value -inf: nothing has been found yet."""
        value = x.new_full((len(x),), -torch.inf)
        return cls(x.clone(), value, torch.zeros_like(value, dtype=torch.bool))

    def note(self, place: Tensor, point: Tensor, value: Tensor | float, broken: bool = False) -> None:
        """Points and their values at ``place``."""
        self.point[place], self.value[place], self.broken[place] = point, value, broken


def attack_in_trials(
    attack: Callable[[Rows], Found],
    model: SearchModel,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    trials: int,
    among: Tensor | None = None,
) -> Tensor:
    """The point of each sample's first trial that breaks it, else of highest value, (B, ...); ``x`` where there is none.

    Args:
        attack: attacks the rows of a batch until all have finished.
        model: what is attacked.
        x: inputs (B, ...).
        y: labels (B,).
        threat: the samples' threat model.
        generator: random streams of the first trial; the others' are its forks, so that more trials include fewer.
        trials: number of trials.
        among: the samples to attack, bool (B,); None: all.
    """
    result, highest = x.clone(), x.new_full((len(x),), -torch.inf)
    active = torch.arange(len(x), device=x.device)
    if among is not None:
        active, x, y, threat, generator = select_rows(among, active, x, y, threat, generator)
    begin = 0
    while begin < trials and len(active):
        # The first trial is alone: an attack that stops early mostly needs no second one.
        count = 1 if begin == 0 else min(trials - begin, max(1, model.most_rows(x) // len(active)))
        numbers = range(begin, begin + count)
        copies = torch.arange(len(active), device=x.device).repeat(count) if count > 1 else slice(None)
        rows = Rows(
            torch.arange(count * len(active), device=x.device),
            active[copies],
            torch.arange(begin, begin + count, device=x.device).repeat_interleave(len(active)),
            x[copies],
            y[copies],
            threat.select(copies),
            generator.fork_trials(numbers),
        )
        found = attack(rows)
        broken = torch.zeros_like(active, dtype=torch.bool)
        for point, value, breaks in zip(
            *(t.view(count, len(active), *t.shape[1:]) for t in (found.point, found.value, found.broken)), strict=True
        ):
            better = ~broken & (breaks | (value > highest[active]))
            if len(active) == len(result):  # all, in their order
                result, highest = torch.where(per_sample(better, x), point, result), torch.where(better, value, highest)
            else:
                chosen = active[better]
                result[chosen], highest[chosen] = point[better], value[better]
            broken |= breaks
        begin += count
        if begin < trials:
            active, x, y, threat, generator = select_rows(~broken, active, x, y, threat, generator)
    return result
