"""Square attack: random search over square-shaped changes, without gradients.

Andriushchenko et al. (2020), algorithms 1 to 3 as revised in AutoAttack; ma2025 table 3.4. From vertical stripes
(Linf) or a grid of bumps (L2), each query changes one window of the perturbation and is kept where the margin loss
falls:

    Linf: every channel of an s x s window is set to +eps or -eps
    L2:   the energy of a second window, and what the ball has left, moves to the first one, as a bump of random sign

The window's area is a share p of the image, from ``p_init`` down to ``p_init`` / 512 over the queries. Waveforms and
vectors are images one pixel high: windows are intervals.

In the ball of Linf all samples change the same window in a query, as the authors' do, and draw signs of their own; in
that of L2 windows are their own as well. Cost: at most ``queries`` forward passes, plus 2 for the clean input and the
start. A query that proposes the very point it starts from (a window that already has the signs drawn) is known to be no
better, and costs no pass. A broken sample leaves the batch before the next query.

A search in lower precision compares its own answers. fp32 is asked about a point a sample has moved to when the search
calls it misclassified, and every 64 queries. Where fp32 finds it no better than the last point it was asked about, the
sample goes back there. Without this, the search would accumulate candidates that are better only by rounding errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._bumps import grid_of_bumps, random_windows, window_sides
from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.losses import margin
from robustscape.attacks.base.scaling import per_sample, unit_l2
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import ThreatModel

#: From images (B, C, H, W) to inputs of the model.
Reshape = Callable[[Tensor], Tensor]

#: From images (B, C, H, W) to the first points, of the same shape.
Start = Callable[[Tensor, ThreatModel, SampleGenerator], Tensor]

#: From the best points, the images (B, C, H, W) and a window's share of them to new points, and those that differ, bool (B,).
Change = Callable[[Tensor, Tensor, float, ThreatModel, SampleGenerator], tuple[Tensor, Tensor]]

#: p is halved after these many queries out of 10,000.
SCHEDULED_QUERIES = 10_000
SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

#: On a GPU reading which samples are broken waits for the device, so it is checked every 16 queries. Results are the same.
QUERIES_BETWEEN_LOOKS = 16

#: The number of queries between two passes in fp32, which are then few large batches and not many small ones.
QUERIES_BETWEEN_CHECKS = 64


def square(
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
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        queries: changes tried.
        p_init: share of the image in the first window.
        rescale_schedule: stretch or shrink the schedule of p to ``queries``; False: it is that of 10,000 queries, of
            which only the first ``queries`` are used (AutoAttack's standard version).
    """
    start, change = (_stripes, _window) if threat.norm == "Linf" else (_bumps, _moved_bump)
    schedule = queries if rescale_schedule else SCHEDULED_QUERIES
    return search_windows(model, x, y, threat, generator, start, change, queries, schedule, p_init)


def search_windows(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    start: Start,
    change: Change,
    queries: int,
    schedule: int,
    p_init: float,
) -> Tensor:
    """``square`` with any start and change of the perturbation; the whole schedule of p has ``schedule`` queries."""
    shape = x.shape
    images = x if x.dim() == 4 else x.reshape(len(x), math.prod(shape[1:-1]), 1, shape[-1])

    def shaped(images: Tensor) -> Tensor:
        return images.reshape(-1, *shape[1:])

    net = search_model(model)
    result = images.clone()
    left = ~misclassified(net.confirm(x), y)
    place, images, y, threat, generator = select_rows(
        left, torch.arange(len(x), device=x.device), images, y, threat, generator
    )
    if not len(place):
        return result.reshape(shape)
    best = start(images, threat, generator)
    state = _Search.begin(net, shaped, place=place, images=images, y=y, threat=threat, generator=generator, best=best)
    for query in range(queries):
        if (not x.is_cuda or query % QUERIES_BETWEEN_LOOKS == 0) and state.broken.any():
            result[state.place[state.broken]] = state.best[state.broken]
            state = state.select(~state.broken)
            if not len(state.place):
                return result.reshape(shape)
        share = _window_share(query, schedule, p_init)
        candidate, new = change(state.best, state.images, share, state.threat, state.generator)
        wrong = state.attempt(net, shaped, candidate, new)
        if not net.exact:
            every = (query + 1) % QUERIES_BETWEEN_CHECKS == 0 or query + 1 == queries
            wrong = state.check(net, shaped, state.moved if every else state.moved & wrong)
        state.broken = state.broken | wrong
    result[state.place] = state.best
    return result.reshape(shape)


@dataclass
class _Search:
    """The state of the search between two queries, per sample."""

    place: Tensor
    """Position in the batch, int64 (B,)."""
    images: Tensor
    y: Tensor
    threat: ThreatModel
    generator: SampleGenerator
    best: Tensor
    """(B, C, H, W)."""
    highest: Tensor
    """The search's margin loss at ``best``, (B,)."""
    broken: Tensor
    """Bool (B,)."""
    # Of a search in lower precision: the last point that fp32 found better than the one before it.
    checked: Tensor
    """(B, C, H, W)."""
    checked_highest: Tensor
    """The search's margin loss there, (B,)."""
    true: Tensor
    """The margin loss of fp32 there, (B,)."""
    moved: Tensor
    """True where ``best`` has left it, bool (B,)."""

    @classmethod
    def begin(
        cls,
        net: SearchModel,
        shaped: Reshape,
        *,
        place: Tensor,
        images: Tensor,
        y: Tensor,
        threat: ThreatModel,
        generator: SampleGenerator,
        best: Tensor,
    ) -> _Search:
        """At the points ``best``. 1 forward pass, of a search in lower precision one of each form."""
        logits = net.confirm(shaped(best))
        true = margin(logits, y)
        highest = true if net.exact else margin(predict(net.search, shaped(best)), y)
        broken = misclassified(logits, y)
        moved = torch.zeros_like(broken)
        return cls(place, images, y, threat, generator, best, highest, broken, best, highest, true, moved)

    def select(self, keep: Tensor) -> _Search:
        """The samples where the mask ``keep`` (B,) is true."""
        return _Search(*select_rows(keep, *vars(self).values()))

    def attempt(self, net: SearchModel, shaped: Reshape, candidate: Tensor, new: Tensor) -> Tensor:
        """Move to the candidates that are better; the samples that the search calls misclassified there, bool (B,).

        Only the candidates ``new``, bool (B,), are not ``best`` itself.
        """
        rows: Tensor | slice = slice(None)
        if not candidate.is_cuda:  # to find out how many are new would be another wait
            rows = new.nonzero().squeeze(1)
            if not len(rows):
                return torch.zeros_like(new)
        value, wrong = _with_rows(self.highest, rows, predict(net.search, shaped(candidate[rows])), self.y)
        better = ((value > self.highest) | wrong) & ~self.broken
        self.highest = torch.where(better, value, self.highest)
        self.best = torch.where(per_sample(better, candidate), candidate, self.best)
        self.moved = self.moved | better
        return wrong

    def check(self, net: SearchModel, shaped: Reshape, some: Tensor) -> Tensor:
        """Check the samples ``some``, bool (B,), in fp32, and return those that it misclassifies, bool (B,).

        The others go back to their last checked point if their margin loss in fp32 is not above the one there. Cost: 1 forward
        pass for the samples checked.
        """
        rows = some.nonzero().squeeze(1)
        if not len(rows):
            return torch.zeros_like(some)
        true, wrong = _with_rows(self.true, rows, net.confirm(shaped(self.best[rows])), self.y)
        good = (true > self.true) | wrong
        back = some & ~good
        self.checked = torch.where(per_sample(good, self.best), self.best, self.checked)
        self.checked_highest = torch.where(good, self.highest, self.checked_highest)
        self.true = torch.where(good, true, self.true)
        self.best = torch.where(per_sample(back, self.best), self.checked, self.best)
        self.highest = torch.where(back, self.checked_highest, self.highest)
        self.moved = self.moved & ~some
        return wrong


def _with_rows(value: Tensor, rows: Tensor | slice, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``value`` (B,) with the margin losses of ``rows``, and which of these are misclassified, bool (B,)."""
    value, wrong = value.clone(), torch.zeros_like(value, dtype=torch.bool)
    value[rows], wrong[rows] = margin(logits, y[rows]), misclassified(logits, y[rows])
    return value, wrong


def _window_share(query: int, queries: int, p_init: float) -> float:
    """The share p of the image that the window of a query covers."""
    position = query * SCHEDULED_QUERIES // queries
    return p_init / 2 ** sum(position > bound for bound in SCHEDULE)


def _stripes(images: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """+-eps, one sign for each channel and column."""
    signs = generator.signs((images.shape[1], 1, images.shape[3]))
    return threat.project(images + threat.eps_like(images) * signs, images)


def _window(
    best: Tensor, images: Tensor, share: float, threat: ThreatModel, generator: SampleGenerator
) -> tuple[Tensor, Tensor]:
    """``best`` with one window, the same for all samples, set to +-eps, one sign for each channel and sample.

    Returns:
        The points (B, C, H, W), and those that differ from ``best``, bool (B,).
    """
    height, width = window_sides(share, images, least=1)
    top, left = (generator.shared_integer(n - m + 1) for n, m in zip(images.shape[2:], (height, width), strict=True))
    rows, columns = slice(top, top + height), slice(left, left + width)
    signs = generator.signs((images.shape[1], 1, 1))
    changed = threat.clip(images[:, :, rows, columns] + threat.eps_like(images) * signs)
    candidate = best.clone()
    candidate[:, :, rows, columns] = changed
    return candidate, (changed != best[:, :, rows, columns]).flatten(1).any(1)


def _on_sphere(offset: Tensor, images: Tensor, threat: ThreatModel) -> Tensor:
    """``images`` plus the offset stretched to norm eps, cut to the range."""
    return threat.project(images + unit_l2(offset) * threat.eps_like(images), images)


def _bumps(images: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """A grid of bumps, stretched to the sphere."""
    return _on_sphere(grid_of_bumps(images, "L2", generator), images, threat)


def _moved_bump(
    best: Tensor, images: Tensor, share: float, threat: ThreatModel, generator: SampleGenerator
) -> tuple[Tensor, Tensor]:
    """``best`` with the second window's energy, and what the ball has left, moved to the first (algorithm 3).

    Returns:
        The points (B, C, H, W), and those that differ from ``best``, bool (B,).
    """
    batch, channels = images.shape[:2]
    delta = (best - images).flatten(2)
    first, second, bump = random_windows(images, share, "L2", generator)

    old, tiny = delta.gather(2, first), torch.finfo(delta.dtype).tiny
    shape = bump + old / old.norm(dim=2, keepdim=True).clamp_min(tiny)
    emptied = delta.scatter(2, first, 0.0).scatter(2, second, 0.0)
    # Energy of both windows (their union): what is gone from each channel once they are emptied.
    energy = (delta.square().sum(2, keepdim=True) - emptied.square().sum(2, keepdim=True)).clamp_min(0)
    eps = threat.eps.to(images).view(batch, 1, 1) if isinstance(threat.eps, Tensor) else threat.eps
    spare = (eps**2 - delta.square().sum((1, 2), keepdim=True)).clamp_min(0) / channels
    fresh = shape / shape.norm(dim=2, keepdim=True).clamp_min(tiny) * (spare + energy).sqrt()
    offset = emptied.scatter(2, first, fresh).view_as(images)
    candidate = _on_sphere(offset, images, threat)
    return candidate, (candidate != best).flatten(1).any(1)
