"""Several runs of an attack (restarts, target classes) on the same samples, computed together.

Small batches leave a machine idle, so runs share passes. A *row* is a sample in a run. A sample's rows leave as soon as one of
them breaks it. Random streams belong to a sample and a run, so sharing changes nothing beyond float rounding, but for the point
found where several runs would break a sample: it is that of the quickest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustscape.attacks.base.active import select
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel


@dataclass
class Rows:
    """Rows of a batch."""

    place: Tensor
    """Position in the batch, int64 (R,)."""
    sample: Tensor
    """Number of the sample, int64 (R,)."""
    run: Tensor
    """Number of the run, int64 (R,)."""
    x: Tensor
    y: Tensor
    threat: ThreatModel
    generator: SampleGenerator

    def select(self, keep: Tensor) -> Rows:
        """The rows where the mask ``keep`` (R,) is true."""
        return Rows(*select(keep, *vars(self).values()))

    def with_samples_of(self, some: Tensor) -> Tensor:
        """All rows of the samples that have a row in the mask ``some`` (R,), bool (R,)."""
        return torch.isin(self.sample, self.sample[some])


@dataclass
class Found:
    """The points that runs have found, per row of a batch."""

    point: Tensor
    """(R, ...)."""
    value: Tensor
    """Of the attack's objective, (R,); -inf: nothing worth keeping."""
    broken: Tensor
    """Rows that broke their sample, bool (R,)."""

    @classmethod
    def nothing(cls, x: Tensor) -> Found:
        """``x`` (R, ...), worth nothing."""
        value = x.new_full((len(x),), -torch.inf)
        return cls(x.clone(), value, torch.zeros_like(value, dtype=torch.bool))

    def note(self, place: Tensor, point: Tensor, value: Tensor | float, broken: bool = False) -> None:
        """Points and their values at ``place``."""
        self.point[place], self.value[place], self.broken[place] = point, value, broken


def attack_in_runs(
    attack: Callable[[Rows], Found],
    model: SearchModel,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    runs: int,
    among: Tensor | None = None,
) -> Tensor:
    """The point of each sample's first run that breaks it, else of highest value, (B, ...); ``x`` where there is none.

    Args:
        attack: runs the rows of a batch to their end.
        model: what is attacked.
        x: inputs (B, ...).
        y: labels (B,).
        threat: the samples' threat model.
        generator: of the first run; the others' are its forks, so that more runs include fewer.
        runs: how many.
        among: the samples to attack, bool (B,); None: all.
    """
    result, highest = x.clone(), x.new_full((len(x),), -torch.inf)
    active = torch.arange(len(x), device=x.device)
    if among is not None:
        active, x, y, threat, generator = select(among, active, x, y, threat, generator)
    begin = 0
    while begin < runs and len(active):
        # The first run is alone: an attack that stops early mostly needs no second one.
        count = 1 if begin == 0 else min(runs - begin, max(1, model.most_rows(x) // len(active)))
        numbers = range(begin, begin + count)
        copies = torch.arange(len(active), device=x.device).repeat(count) if count > 1 else slice(None)
        rows = Rows(
            torch.arange(count * len(active), device=x.device),
            active[copies],
            torch.tensor(list(numbers), device=x.device).repeat_interleave(len(active)),
            x[copies],
            y[copies],
            threat.select(copies),
            generator.runs(numbers),
        )
        found = attack(rows)
        broken = torch.zeros_like(active, dtype=torch.bool)
        for point, value, breaks in zip(
            *(t.view(count, len(active), *t.shape[1:]) for t in (found.point, found.value, found.broken)), strict=True
        ):
            better = ~broken & (breaks | (value > highest[active]))
            chosen = active[better]
            result[chosen], highest[chosen] = point[better], value[better]
            broken |= breaks
        active, x, y, threat, generator = select(~broken, active, x, y, threat, generator)
        begin += count
    return result
