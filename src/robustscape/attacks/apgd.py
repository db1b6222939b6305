"""Auto-PGD: projected gradient ascent that chooses its own step sizes.

Croce & Hein (2020), algorithm 1; liu2020 table 4 (APGD100 CE and DLR), ma2025 table 3.4 (APGD-CE, APGD-T). From a
random point, with step eta = 2 eps and momentum a = 0.75 (a = 1 in the first iteration),

    z_{t+1} = P( x_t + eta * ascent(grad_x loss(x_t)) )
    x_{t+1} = P( x_t + a (z_{t+1} - x_t) + (1 - a) (x_t - x_{t-1}) )

At checkpoints w_0 = 0, w_1 = 0.22 T, w_{j+1} = w_j + max(w_j - w_{j-1} - 0.03 T, 0.06 T) a sample's step is halved,
and the sample sent back to its best point, when (1) at most ``rho`` of the steps since w_{j-1} raised the loss, or (2)
neither its step nor its best loss changed at the last checkpoint. As in the authors' code, condition (1) reads "at
most", not "fewer than", and condition (2) cannot hold at the first checkpoint. Where the code counts the very first
step as a rise without looking, this one looks, as the paper does.

Cost: ``iterations`` forward and input-backward passes per restart and target class, and 1 forward, plus 1 forward for the
clean logits. A broken sample leaves the batch at once. After the first run, restarts and target classes share passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.losses import LOSSES, dlr_targeted, require_classes
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.base.trials import Found, Rows, attack_in_trials

MOMENTUM = 0.75


def apgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    loss: Literal["cross_entropy", "dlr", "dlr_targeted"] = "cross_entropy",
    iterations: Annotated[int, Field(ge=1)] = 100,
    restarts: Annotated[int, Field(ge=1)] = 1,
    rho: Annotated[float, Field(gt=0, le=1)] = 0.75,
    n_target_classes: Annotated[int, Field(ge=1)] = 9,
    random_start: bool = True,
    early_stopping: bool = True,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``; where none is found, the point of highest loss.

    Args:
        model: logits (B, C) from inputs (B, ...); C > 2 for ``dlr``, C > 3 for ``dlr_targeted``.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        loss: what is maximised; ``dlr_targeted`` runs once for each of the likeliest wrong classes.
        iterations: T, gradient steps of a run.
        restarts: runs from new random points.
        rho: share of successful steps below which a step is halved.
        n_target_classes: how many wrong classes ``dlr_targeted`` aims at, if there are so many.
        random_start: start on the sphere in a random direction, else at ``x``.
        early_stopping: a sample is finished once it is misclassified; False: look for the highest loss.
    """
    net = search_model(model)
    clean = predict(net, x)
    require_classes(loss, clean.shape[1])
    likeliest = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    targeted = loss == "dlr_targeted"
    targets = min(n_target_classes, clean.shape[1] - 1) if targeted else 1

    def ascend(rows: Rows) -> Found:
        def objective(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
            return dlr_targeted(logits, y, target) if targeted else LOSSES[loss](logits, y)

        start = rows.x
        if random_start:
            offset = rows.threat.eps_like(start) * rows.threat.random_direction(start, rows.generator)
            start = rows.threat.project(start + offset, start)
        target = likeliest[rows.sample, rows.trial // restarts]
        return _ascend(net, _Ascent.at(start, rows, target), objective, iterations, rho, early_stopping)

    among = ~misclassified(clean, y) if early_stopping else None
    return attack_in_trials(ascend, net, x, y, threat, generator, trials=targets * restarts, among=among)


@dataclass
class _Ascent:
    """The state of the rows of a batch between two iterations."""

    rows: Rows
    target: Tensor
    """Classes aimed at, (R,)."""
    point: Tensor
    previous: Tensor
    best: Tensor
    """The point of highest loss, (R, ...)."""
    best_gradient: Tensor
    gradient: Tensor
    """Of the loss at ``point``, (R, ...)."""
    step: Tensor
    """(R, 1, ...)."""
    losses: Tensor
    """At ``point``, (R,)."""
    best_loss: Tensor
    checked_loss: Tensor
    """``best_loss`` at the last checkpoint, (R,)."""
    rises: Tensor
    """Steps since the last checkpoint that raised the loss, (R,)."""
    halved: Tensor
    """True where the step was halved at the last checkpoint, bool (R,)."""

    @classmethod
    def at(cls, start: Tensor, rows: Rows, target: Tensor) -> _Ascent:
        """At the points ``start`` (R, ...), before the first pass."""
        x = rows.x
        step = 2.0 * (rows.threat.eps_like(x) * x.new_ones((len(x), *[1] * (x.dim() - 1))))
        low = x.new_full((len(x),), -torch.inf)
        # As if just halved: condition (2) cannot hold at the first checkpoint.
        halved = torch.ones_like(low, dtype=torch.bool)
        none = torch.zeros_like(low)
        return cls(rows, target, start, start, start, start, start, step, low, low, low, none, halved)

    def select(self, keep: Tensor) -> _Ascent:
        """The rows where the mask ``keep`` (R,) is true."""
        rows, *states = vars(self).values()
        return _Ascent(rows.select(keep), *select_rows(keep, *states))

    def remember_best(self, before: Tensor) -> None:
        """Compare the losses with those of the point before and with the best ones, (R,)."""
        self.rises = self.rises + (self.losses > before)
        better = self.losses > self.best_loss
        self.best_loss = torch.where(better, self.losses, self.best_loss)
        better = per_sample(better, self.point)
        self.best = torch.where(better, self.point, self.best)
        self.best_gradient = torch.where(better, self.gradient, self.best_gradient)

    def check(self, window: int, rho: float) -> None:
        """At a checkpoint: halve the step and go back to the best point where one of the conditions holds."""
        self.halved = (self.rises <= rho * window) | (~self.halved & (self.checked_loss >= self.best_loss))
        back = per_sample(self.halved, self.point)
        self.step = torch.where(back, self.step / 2, self.step)
        self.point = torch.where(back, self.best, self.point)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.checked_loss, self.rises = self.best_loss, torch.zeros_like(self.rises)

    def advance(self, momentum: float) -> None:
        """One step; ``momentum`` is a, 1 in the first iteration."""
        x, threat, point = self.rows.x, self.rows.threat, self.point
        ahead = threat.project(point + self.step * threat.ascent(self.gradient), x)
        if momentum < 1:
            ahead = threat.project(point + momentum * (ahead - point) + (1 - momentum) * (point - self.previous), x)
        self.previous, self.point = point, ahead


def _ascend(
    model: SearchModel,
    ascent: _Ascent,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    iterations: int,
    rho: float,
    early_stopping: bool,
) -> Found:
    """The point of highest loss of every row; with ``early_stopping`` the first that is misclassified."""
    found, checkpoints = Found.nothing(ascent.rows.x), _checkpoints(iterations)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return objective(logits, y, ascent.target)

    for iteration in range(iterations + 1):
        before, y = ascent.losses, ascent.rows.y
        if iteration < iterations:
            logits, ascent.losses, ascent.gradient = model.gradient(ascent.point, y, loss)
        else:  # the last point needs no gradient
            logits = predict(model.search, ascent.point)
            ascent.losses = loss(logits, y)
        if early_stopping and (wrong := model.broken(ascent.point, y, logits)).any():
            found.note(ascent.rows.place[wrong], ascent.point[wrong], ascent.losses[wrong], broken=True)
            keep = ~ascent.rows.with_samples_of(wrong)
            ascent, before = ascent.select(keep), before[keep]
            if not len(before):
                return found
        if iteration == 0:
            ascent.best_loss = ascent.checked_loss = ascent.losses
            ascent.best_gradient = ascent.gradient
        else:
            ascent.remember_best(before)
        if iteration < iterations:
            if iteration in checkpoints:
                ascent.check(checkpoints[iteration], rho)
            ascent.advance(MOMENTUM if iteration > 0 else 1.0)
    found.note(ascent.rows.place, ascent.best, ascent.best_loss)
    return found


def _checkpoints(iterations: int) -> dict[int, int]:
    """The checkpoints w_j, and how many iterations each is after the one before."""
    found, position, window = {}, 0, max(int(0.22 * iterations), 1)
    while position < iterations:
        position += window
        found[position] = window
        window = max(window - max(int(0.03 * iterations), 1), max(int(0.06 * iterations), 1))
    return found
