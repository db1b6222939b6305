"""Fast adaptive boundary attack: the nearest misclassified point, by steps onto linearised decision boundaries.

Croce & Hein (2020a), algorithm 1; ma2025 table 3.4 (FAB-T). At x_t the boundary to class s is replaced by the
hyperplane {z : <w, z - x_t> = -f}, f = z_s - z_y, w = grad f; s is the class whose hyperplane is nearest, or a given
target. With P the projection on hyperplane and range,

    d_t = P(x_t) - x_t,    d_0 = P(x) - x,    alpha = min( ||d_t|| / (||d_t|| + ||d_0||), alpha_max )
    x_{t+1} = clip( (1 - alpha)(x_t + eta d_t) + alpha (x + eta d_0) )

and after a misclassified x_{t+1}, kept if it is the nearest so far, x_{t+1} <- x + beta (x_{t+1} - x). The attack
looks for the nearest adversarial point whatever eps; here a sample is finished as soon as one within eps is known.

Its points lie along a boundary. A model that searches in lower precision answers there as it can (``rough``), and
fp32 is asked about the points within eps that it calls misclassified or cannot tell: no others can end the search.

Cost: an iteration is 2 forward and 1 input-backward passes, with ``targeted=False`` C backward passes; runs: one a
restart and target class.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._boundary import project_on_hyperplane
from robustscape.attacks.base.active import select
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, confirmed, misclassified, predict, rough, undecided
from robustscape.attacks.base.threat import TOLERANCE, ThreatModel, l2_norm, per_sample


def fab(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    targeted: bool = True,
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
        targeted: one run for each of the likeliest wrong classes; False: one run towards the nearest class of all.
        n_target_classes: how many wrong classes, if there are so many.
        iterations: steps of a run.
        restarts: runs; the first starts at ``x``, the others at a random point at half of eps.
        alpha_max: largest weight of the step that starts from ``x``.
        eta: how far beyond the hyperplane a step goes.
        beta: how far back towards ``x`` a misclassified point is pulled.
    """
    clean = predict(model, x)
    result = x.clone()
    active = torch.arange(x.shape[0], device=x.device)
    active, x, y, threat, generator, clean = select(~misclassified(clean, y), active, x, y, threat, generator, clean)
    likeliest = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    targets = min(n_target_classes, clean.shape[1] - 1) if targeted else 1
    for run in range(targets * restarts):
        if not len(active):
            break
        target = likeliest[:, run // restarts] if targeted else None
        start = x if run % restarts == 0 else _random_start(x, threat, generator.fork(run))
        found, done = _run(model, x, y, threat, target, start, iterations, alpha_max, eta, beta)
        result[active[done]] = found[done]
        active, x, y, threat, generator, likeliest = select(~done, active, x, y, threat, generator, likeliest)
    return result


def _run(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    target: Tensor | None,
    start: Tensor,
    iterations: int,
    alpha_max: float,
    eta: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """One run: points (B, ...) and which of them are misclassified within eps (B,)."""
    search = rough(model)
    result, done = x.clone(), torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
    active, point = torch.arange(x.shape[0], device=x.device), start
    for _ in range(iterations):
        gap, normal = _nearest_boundary(search, point, y, threat.norm, target)
        # Both projections are on the same hyperplane, seen from x_t and from x.
        here = project_on_hyperplane(point, normal, -gap, threat)
        offset = (normal * (x - point)).flatten(1).sum(1)
        home = project_on_hyperplane(x, normal, -gap - offset, threat)
        near, far = (_length(d, threat).clamp_min(1e-8) for d in (here, home))
        alpha = per_sample((near / (near + far)).clamp(max=alpha_max), x)
        point = threat.clip((1 - alpha) * (point + eta * here) + alpha * (x + eta * home))

        logits = predict(search, point)
        wrong = misclassified(logits, y)
        claimed = wrong if search is model else wrong | undecided(logits)
        claimed = claimed & (threat.distance(point, x) <= _limit(threat, x))
        inside = confirmed(model, point, y, claimed)
        wrong = torch.where(claimed, inside, wrong)
        if inside.any():
            rows = active[inside]
            result[rows], done[rows] = threat.select(inside).project(point[inside], x[inside]), True
            active, point, x, y, target, threat, wrong = select(~inside, active, point, x, y, target, threat, wrong)
            if not len(active):
                break
        point = torch.where(per_sample(wrong, x), x + beta * (point - x), point)
    return result, done


def _nearest_boundary(
    model: Classifier, point: Tensor, y: Tensor, norm: str, target: Tensor | None
) -> tuple[Tensor, Tensor]:
    """f = z_s - z_y (B,) and its gradient (B, ...), s the target or the class whose linearised boundary is nearest."""
    point = point.detach().requires_grad_()
    rows = torch.arange(len(y), device=y.device)
    with torch.enable_grad():
        logits = model(point)
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
            dual = torch.linalg.vector_norm(gradient.flatten(1), ord=1 if norm == "Linf" else 2, dim=1)
            distance = torch.where(y == s, torch.inf, gaps.detach()[:, s].abs() / (dual + 1e-12))
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            gap = torch.where(closer, gaps.detach()[:, s], gap)
            normal = torch.where(per_sample(closer, point), gradient, normal)
    return gap, normal


def _length(offset: Tensor, threat: ThreatModel) -> Tensor:
    return threat.distance(offset, offset.new_zeros(()))


def _limit(threat: ThreatModel, x: Tensor) -> Tensor | float:
    """eps (B,), with the slack that float rounding of a point on the sphere needs."""
    radius = threat.eps.to(x) if isinstance(threat.eps, Tensor) else threat.eps
    return radius + 0.1 * TOLERANCE * radius


def _random_start(x: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """``x`` plus a random offset of norm eps / 2, cut to the range."""
    if threat.norm == "Linf":
        offset = generator.uniform(x.shape[1:]) * 2 - 1
        size = per_sample(offset.flatten(1).abs().amax(1), x)
    else:
        offset = generator.normal(x.shape[1:])
        size = l2_norm(offset)
    return threat.clip(x + 0.5 * threat.eps_like(x) * (offset / (size + 1e-12)))
