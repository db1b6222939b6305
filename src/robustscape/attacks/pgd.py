"""Projected gradient descent, the workhorse of all five works.

Madry et al. (2018); yamada2021 section 2.2, liu2020 eq 4, kim2023 eq 2.3, ma2025 eq 2.5:

    x_0     = x + uniform in the ball           (random_start; or Gaussian) or x
    x_{t+1} = clip( P_ball( x_t + step * ascent(grad_x loss(x_t, y)) ) )

with ascent(g) = sign(g) for Linf and g / ||g||_2 for L2. Cost: ``steps`` forward and input-backward passes per restart,
and one forward pass more where points are compared (``restarts`` > 1 or ``keep_best``). After the first, restarts share
passes. With ``early_stopping`` a sample costs nothing more once it is broken, in any restart. On a CPU a batch costs nothing
more once a step has left all of it where it was and the model has answered the same again, as at the corners of an Linf ball
around which it is linear: every later step would do the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, predict
from robustscape.attacks.base.losses import LOSSES, Loss
from robustscape.attacks.base.search import SearchModel, search_model
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.base.trials import Found, Rows, attack_in_trials


def pgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: Annotated[int, Field(ge=1)] = 10,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    random_start: bool = True,
    start: Literal["ball", "step", "gaussian"] = "ball",
    start_std: Annotated[float, Field(gt=0)] = 0.001,
    restarts: Annotated[int, Field(ge=1)] = 1,
    loss: Literal["cross_entropy", "margin", "dlr"] = "cross_entropy",
    targeted: bool = False,
    keep_best: bool = False,
    early_stopping: bool = False,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,), or the wanted classes when ``targeted``.
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        steps: gradient steps of a restart.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        random_start: start at a random point around ``x``, else at ``x``.
        start: that point is uniform in the threat's ball, or ("step") in one with the step as its radius if that is smaller (code
            of liu2020), or ("gaussian") ``x`` plus Gaussian noise, projected on the ball (MART's, Wang et al. 2020).
        start_std: standard deviation of the Gaussian noise, in input units.
        restarts: independent runs; each sample keeps the point of highest loss over the restarts' points.
        loss: what is maximised (minimised towards ``y`` when ``targeted``).
        targeted: whether ``y`` are wanted classes.
        keep_best: a restart's point is its iterate of highest loss, else its last iterate.
        early_stopping: a sample leaves the batch as soon as it is misclassified (for accuracy, not for training or
            landscapes, where the worst loss is wanted).
    """
    eps = threat.eps_like(x)
    share = rel_step_size if step_size is None else step_size / eps if isinstance(eps, Tensor) or eps else 1.0
    return projected_ascent(
        model,
        x,
        y,
        threat,
        generator,
        objective=LOSSES[loss],
        steps=steps,
        step=rel_step_size * eps if step_size is None else step_size,
        spread=1.0 if start != "step" else share.clamp(max=1.0) if isinstance(share, Tensor) else min(share, 1.0),
        start_std=start_std if start == "gaussian" else None,
        random_start=random_start,
        restarts=restarts,
        targeted=targeted,
        keep_best=keep_best,
        early_stopping=early_stopping,
    )


def projected_ascent(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    objective: Loss,
    steps: int,
    step: Tensor | float,
    random_start: bool,
    spread: Tensor | float = 1.0,
    start_std: float | None = None,
    restarts: int = 1,
    targeted: bool = False,
    keep_best: bool = False,
    early_stopping: bool = False,
) -> Tensor:
    """``pgd`` on any objective: per-sample losses (B,) from logits and labels.

    ``step`` and ``spread``, the radius of the starts as a share of the ball's, broadcast against ``x``. With ``start_std`` random
    starts are ``x`` plus Gaussian noise instead.
    """
    net, sign, compare = search_model(model), -1.0 if targeted else 1.0, keep_best or restarts > 1

    def ascend(rows: Rows) -> Found:
        found = Found.nothing(rows.x)
        pace, width = (v[rows.sample] if isinstance(v, Tensor) and v.dim() else v for v in (step, spread))
        point = rows.x
        if random_start and start_std is not None:
            noise = rows.generator.normal(rows.x.shape[1:]).to(rows.x)
            point = rows.threat.project(rows.x + start_std * noise, rows.x)
        elif random_start:
            point = rows.threat.clip(rows.x + width * rows.threat.random_offset(rows.x, rows.generator))
        ball, at_rest, settled = rows.threat.around(rows.x), _AtRest(net, point), False
        for iteration in range(steps + compare):
            last = iteration == steps
            if settled and not last:
                continue
            if last:
                logits = predict(net.search, point)
                losses, gradient = objective(logits, rows.y), point
            else:
                logits, losses, gradient = net.gradient(point, rows.y, objective)
            if last or keep_best:
                better = sign * losses > found.value[rows.place]
                found.note(rows.place[better], point[better], sign * losses[better])
            if early_stopping:
                done = net.broken(point, rows.y, logits) != targeted
                if done.any():
                    found.note(rows.place[done], point[done], sign * losses[done], broken=True)
                    keep = ~rows.with_samples_of(done)
                    rows, point, gradient, pace = rows.select(keep), *select_rows(keep, point, gradient, pace)
                    if not len(point):
                        return found
                    ball = rows.threat.around(rows.x)
            if not last:
                before, point = point, ball.step(point, gradient, sign * pace)
                settled = at_rest(before, point, logits)
        if not (compare or early_stopping):
            return Found(point, torch.zeros_like(found.value), found.broken)
        if not compare:
            found.note(rows.place, point, 0.0)
        return found

    return attack_in_trials(ascend, net, x, y, threat, generator, trials=restarts)


class _AtRest:
    """Whether an ascent has come to rest: two steps in a row left the batch where it was, and the logits there were equal.

    Equal logits say that the model has no randomness of its own, so that no later step differs. Never so in training mode,
    where every pass moves running statistics, nor on a GPU, which each look would make wait.
    """

    def __init__(self, net: SearchModel, x: Tensor) -> None:
        self._looks = not (net.training or x.is_cuda)
        self._logits: Tensor | None = None

    def __call__(self, before: Tensor, after: Tensor, logits: Tensor) -> bool:
        """Note a step from ``before`` to ``after`` (B, ...), where the model answered ``logits`` (B, C) at ``before``."""
        if not (self._looks and torch.equal(before, after)):
            self._logits = None
            return False
        rests = self._logits is not None and torch.equal(self._logits, logits)
        self._logits = logits
        return rests
