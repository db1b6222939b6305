"""Auto-PGD in L1: sparse steps of adaptive sparsity, in balls that shrink to the one that is meant.

Croce & Hein (2021), section 4 and algorithm 1, as in AutoAttack. With P the projection on ball and range at once, and e_k(g) the
signs of the k largest entries of |g|, divided by their number,

    x_{t+1} = P( x_t + eta e_k(grad_x loss(x_t)) )

Steps of few coordinates suit the ball, but how few depends on the net: after each 4 % of the iterations k becomes the number of
coordinates in which the best point so far differs from x, over 1.5. Where that number has fallen below 95 % of the last one, the
step starts again at eta = eps, from the best point; else it shrinks to eta / 1.5, down to eps / 10.

Starting in larger balls finds better regions: the best point of 0.3 T iterations within 3 eps is projected on the ball of 2 eps,
that of as many there on the ball of eps. Only points of this last ball count.

Cost: ``iterations`` forward and input-backward passes per restart and target class, and 3 forward, plus 1 forward for the
clean logits. A broken sample leaves the batch at once. After the first run, restarts and target classes share passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.losses import LOSSES, Loss, dlr_targeted, require_classes
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.base.trials import Found, Rows, attack_in_trials

#: Radii of the balls over eps, and shares of the iterations spent in each.
BALLS = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))

#: Share of a ball's iterations after which sparsity and step size are set anew.
WINDOW = 0.04

#: What the number of changed coordinates and, where it has not fallen, the step are divided by.
REDUCTION = 1.5

#: A number of changed coordinates has fallen if it is below this share of the last one.
FALLEN = 0.95

#: The shortest step, as a share of eps.
SHORTEST = 0.1


def apgd_l1(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    loss: Literal["cross_entropy", "dlr", "dlr_targeted"] = "cross_entropy",
    iterations: Annotated[int, Field(ge=3)] = 100,
    restarts: Annotated[int, Field(ge=1)] = 1,
    n_target_classes: Annotated[int, Field(ge=1)] = 5,
    early_stopping: bool = True,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``; where none is found, the point of highest loss.

    Args:
        model: logits (B, C) from inputs (B, ...); C > 2 for ``dlr``, C > 3 for ``dlr_targeted``.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: the ball of L1, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        loss: what is maximised; ``dlr_targeted`` runs once for each of the likeliest wrong classes.
        iterations: T, gradient steps of a run.
        restarts: runs, each from ``x`` with Gaussian noise, projected.
        n_target_classes: how many wrong classes ``dlr_targeted`` aims at, if there are so many.
        early_stopping: a sample is finished once it is misclassified; False: look for the highest loss.
    """
    net = search_model(model)
    clean = predict(net, x)
    require_classes(loss, clean.shape[1])
    likeliest = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    targeted = loss == "dlr_targeted"
    targets = min(n_target_classes, clean.shape[1] - 1) if targeted else 1

    def objective(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return dlr_targeted(logits, y, target) if targeted else LOSSES[loss](logits, y)

    def ascend(rows: Rows) -> Found:
        target = likeliest[rows.sample, rows.trial // restarts]
        point = rows.x + rows.generator.normal(rows.x.shape[1:])
        for (radius, _), steps in zip(BALLS, _iterations(iterations), strict=True):
            threat = replace(rows.threat, eps=radius * rows.threat.eps)
            last = radius == 1.0
            state = _SparseAscent.at(threat.project(point, rows.x), replace(rows, threat=threat), target)
            found = _ascend(net, state, objective, steps, early_stopping and last)
            point = found.point
        return found

    among = ~misclassified(clean, y) if early_stopping else None
    return attack_in_trials(ascend, net, x, y, threat, generator, trials=targets * restarts, among=among)


def _iterations(total: int) -> list[int]:
    """The steps in each ball, ``total`` together, at least one in the last."""
    first = [min(math.ceil(share * total), (total - 1) // 2) for _, share in BALLS[:-1]]
    return [*first, total - sum(first)]


@dataclass
class _SparseAscent:
    """The state of the rows of a batch between two iterations."""

    rows: Rows
    target: Tensor
    """Classes aimed at, (R,)."""
    point: Tensor
    best: Tensor
    """The point of highest loss, (R, ...)."""
    best_loss: Tensor
    gradient: Tensor
    """Of the loss at ``point``, (R, ...)."""
    best_gradient: Tensor
    step: Tensor
    """eta over eps, (R,)."""
    changed: Tensor
    """Coordinates in which the best point of the last window differs from x, (R,)."""

    @classmethod
    def at(cls, start: Tensor, rows: Rows, target: Tensor) -> _SparseAscent:
        """Before the first pass at ``start``."""
        low = start.new_full((len(start),), -torch.inf)
        return cls(rows, target, start, start, low, start, start, torch.ones_like(low), _changed(start, rows.x))

    def select(self, keep: Tensor) -> _SparseAscent:
        """The rows where the mask ``keep`` (R,) is true."""
        rows, *states = vars(self).values()
        return _SparseAscent(rows.select(keep), *select_rows(keep, *states))

    def remember_best(self, losses: Tensor) -> None:
        """Keep the point where ``losses`` (R,) are the highest so far."""
        better = losses > self.best_loss
        self.best_loss = torch.where(better, losses, self.best_loss)
        better = per_sample(better, self.point)
        self.best = torch.where(better, self.point, self.best)
        self.best_gradient = torch.where(better, self.gradient, self.best_gradient)

    def adapt(self) -> None:
        """At the end of a window: count the best point's coordinates, and start again from it or shorten the step."""
        changed = _changed(self.best, self.rows.x)
        fallen = changed < FALLEN * self.changed
        self.changed = changed
        self.step = torch.where(fallen, 1.0, (self.step / REDUCTION).clamp_min(SHORTEST))
        again = per_sample(fallen, self.point)
        self.point = torch.where(again, self.best, self.point)
        self.gradient = torch.where(again, self.best_gradient, self.gradient)

    def advance(self) -> None:
        """One step along the coordinates of steepest ascent, as many as the best point has changed over 1.5."""
        x, threat, slope = self.rows.x, self.rows.threat, self.gradient.flatten(1)
        count = (self.changed / REDUCTION).ceil().clamp(1, slope.shape[1]).long()
        size = slope.abs()
        least = size.sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
        direction = torch.where(size >= least, slope.sign(), 0.0)
        direction = (direction / direction.abs().sum(dim=1, keepdim=True).clamp_min(1.0)).view_as(x)
        length = per_sample(self.step, x) * threat.eps_like(x)
        self.point = threat.project(self.point + length * direction, x)


def _changed(point: Tensor, x: Tensor) -> Tensor:
    """The number of coordinates in which ``point`` differs from ``x``, (R,), a floating tensor."""
    return (point != x).flatten(1).sum(dim=1).to(x.dtype)


def _ascend(
    model: SearchModel,
    ascent: _SparseAscent,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    iterations: int,
    early_stopping: bool,
) -> Found:
    """The point of highest loss of every row; with ``early_stopping`` the first that is misclassified."""
    found, window = Found.nothing(ascent.rows.x), max(int(WINDOW * iterations), 1)

    def loss_towards(target: Tensor) -> Loss:
        return lambda logits, y: objective(logits, y, target)

    for iteration in range(iterations + 1):
        y = ascent.rows.y
        loss = loss_towards(ascent.target)
        if iteration < iterations:
            logits, losses, ascent.gradient = model.gradient(ascent.point, y, loss)
        else:  # the last point needs no gradient
            logits = predict(model.search, ascent.point)
            losses = loss(logits, y)
        if early_stopping and (wrong := model.broken(ascent.point, y, logits)).any():
            found.note(ascent.rows.place[wrong], ascent.point[wrong], losses[wrong], broken=True)
            keep = ~ascent.rows.with_samples_of(wrong)
            ascent, losses = ascent.select(keep), losses[keep]
            if not len(losses):
                return found
        ascent.remember_best(losses)
        if iteration < iterations:
            if iteration and iteration % window == 0:
                ascent.adapt()
            ascent.advance()
    found.note(ascent.rows.place, ascent.best, ascent.best_loss)
    return found
