"""Fast adaptive boundary attack: the nearest misclassified point, by steps onto linearised decision boundaries.

Croce & Hein (2020a), algorithm 1; ma2025 table 3.4 (FAB-T). At x_t the boundary to class s is replaced by the
hyperplane {z : <w, z - x_t> = -f}, f = z_s - z_y, w = grad f; s is the class whose hyperplane is nearest, or a given
target. With P the projection on hyperplane and range,

    d_t = P(x_t) - x_t,    d_0 = P(x) - x,    alpha = min( ||d_t|| / (||d_t|| + ||d_0||), alpha_max )
    x_{t+1} = clip( (1 - alpha)(x_t + eta d_t) + alpha (x + eta d_0) )

and after a misclassified x_{t+1}, kept if it is the nearest so far, x_{t+1} <- x + beta (x_{t+1} - x). The attack
looks for the nearest adversarial point whatever eps; here a sample is finished as soon as one within eps is known.

Its points lie along a boundary. A search in lower precision answers there as it can, and fp32 is asked about the points
within eps that it calls misclassified or cannot tell: no others can end the search.

Cost: an iteration is 2 forward and 1 input-backward passes, with ``each_class=False`` C backward passes; there is one run per
restart and target class. After the first run, restarts and target classes share passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._boundary import project_on_hyperplane
from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.scaling import magnitude, per_sample
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import TOLERANCE, ThreatModel
from robustscape.attacks.base.trials import Found, Rows, attack_in_trials

#: Norm -> order of the norm that is dual to it.
DUAL_ORDERS = {"Linf": 1.0, "L2": 2.0, "L1": math.inf}


def fab(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    each_class: bool = True,
    n_target_classes: Annotated[int, Field(ge=1)] = 9,
    iterations: Annotated[int, Field(ge=1)] = 100,
    restarts: Annotated[int, Field(ge=1)] = 1,
    alpha_max: Annotated[float, Field(ge=0, le=1)] = 0.1,
    eta: Annotated[float, Field(ge=1)] = 1.05,
    beta: Annotated[float, Field(gt=0, le=1)] = 0.9,
) -> Tensor:
    """A misclassified point within eps where one was found, else ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams; used from the second restart on.
        each_class: one run for each of the likeliest wrong classes; False: one run towards the nearest class of all.
        n_target_classes: how many wrong classes, if there are so many.
        iterations: steps of a run.
        restarts: runs; the first starts at ``x``, the others at a random point at half of eps.
        alpha_max: largest weight of the step that starts from ``x``.
        eta: how far beyond the hyperplane a step goes.
        beta: how far back towards ``x`` a misclassified point is pulled.
    """
    net = search_model(model)
    clean = predict(net, x)
    likeliest = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    targets = min(n_target_classes, clean.shape[1] - 1) if each_class else 1

    def approach(rows: Rows) -> Found:
        x, threat, fresh = rows.x, rows.threat, rows.trial % restarts > 0
        start = x
        if fresh.any():
            offset = 0.5 * threat.eps_like(x) * threat.random_direction(x, rows.generator)
            start = torch.where(per_sample(fresh, x), threat.clip(x + offset), x)
        target = likeliest[rows.sample, rows.trial // restarts] if each_class else None
        return _approach(net, _Approach(rows, target, start), iterations, alpha_max, eta, beta)

    among = ~misclassified(clean, y)
    return attack_in_trials(approach, net, x, y, threat, generator, trials=targets * restarts, among=among)


@dataclass
class _Approach:
    """The state of the rows of a batch between two iterations."""

    rows: Rows
    target: Tensor | None
    """Classes aimed at, (R,); None: the nearest."""
    point: Tensor
    """(R, ...)."""

    def select(self, keep: Tensor) -> _Approach:
        """The rows where the mask ``keep`` (R,) is true."""
        return _Approach(self.rows.select(keep), *select_rows(keep, self.target, self.point))


def _approach(
    model: SearchModel, state: _Approach, iterations: int, alpha_max: float, eta: float, beta: float
) -> Found:
    """A misclassified point within eps where a row has found one."""
    found = Found.nothing(state.rows.x)
    for _ in range(iterations):
        x, y, threat, point = state.rows.x, state.rows.y, state.rows.threat, state.point
        gap, normal = _nearest_boundary(model, point, y, threat.norm, state.target)
        # Both projections are on the same hyperplane, seen from x_t and from x.
        here = project_on_hyperplane(point, normal, -gap, threat)
        offset = (normal * (x - point)).flatten(1).sum(1)
        home = project_on_hyperplane(x, normal, -gap - offset, threat)
        near, far = (_length(d, threat).clamp_min(1e-8) for d in (here, home))
        alpha = per_sample((near / (near + far)).clamp(max=alpha_max), x)
        state.point = point = threat.clip((1 - alpha) * (point + eta * here) + alpha * (x + eta * home))

        within = threat.distance(point, x) <= _limit(threat, x)
        wrong = model.broken(point, y, predict(model.search, point), among=within)
        inside = wrong & within
        if inside.any():
            found.note(
                state.rows.place[inside], threat.select(inside).project(point[inside], x[inside]), 0.0, broken=True
            )
            keep = ~state.rows.with_samples_of(inside)
            state, wrong = state.select(keep), wrong[keep]
            if not len(wrong):
                break
        x = state.rows.x
        state.point = torch.where(per_sample(wrong, x), x + beta * (state.point - x), state.point)
    return found


def _nearest_boundary(
    model: SearchModel, point: Tensor, y: Tensor, norm: str, target: Tensor | None
) -> tuple[Tensor, Tensor]:
    """f = z_s - z_y (B,) and its gradient (B, ...), s the target or the class whose linearised boundary is nearest."""
    point = point.detach().requires_grad_()
    rows = torch.arange(len(y), device=y.device)
    with torch.enable_grad():
        logits = model.search(point)
        if target is not None:
            gaps = logits[rows, target] - logits[rows, y]
            (gradient,) = torch.autograd.grad(gaps.sum(), point)
            return gaps.detach(), gradient
        gaps = logits - logits[rows, y][:, None]
        gap, normal = gaps.detach()[:, 0], torch.zeros_like(point)
        nearest = torch.full_like(gap, torch.inf)
        for s in range(logits.shape[1]):
            (gradient,) = torch.autograd.grad(gaps[:, s].sum(), point, retain_graph=s + 1 < logits.shape[1])
            # Distance to a hyperplane: |f| over the dual norm of its normal.
            scale = magnitude(gradient)
            dual = torch.linalg.vector_norm((gradient / scale).flatten(1), ord=DUAL_ORDERS[norm], dim=1)
            distance = torch.where(y == s, torch.inf, gaps.detach()[:, s].abs() / scale.flatten() / dual)
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            gap = torch.where(closer, gaps.detach()[:, s], gap)
            normal = torch.where(per_sample(closer, point), gradient, normal)
    return gap, normal


def _length(offset: Tensor, threat: ThreatModel) -> Tensor:
    return threat.distance(offset, offset.new_zeros(()))


def _limit(threat: ThreatModel, x: Tensor) -> Tensor | float:
    """eps (B,), with the slack that float rounding of a point on the sphere needs."""
    eps = threat.eps.to(x) if isinstance(threat.eps, Tensor) else threat.eps
    return eps + 0.1 * TOLERANCE * eps
