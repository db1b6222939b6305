"""Projected gradient descent, the workhorse of all five works.

Madry et al. (2018); yamada2021 section 2.2, liu2020 section 1.2, kim2023 eq 2.3, ma2025 eq 2.5:

    x_0     = x + uniform in the ball           (random_start) or x
    x_{t+1} = clip( P_ball( x_t + step * ascent(grad_x loss(x_t, y)) ) )

with ascent(g) = sign(g) for Linf and g / ||g||_2 for L2. Cost: ``steps`` forward and input-backward passes a restart,
and one forward pass more where points are compared (``restarts`` > 1 or ``keep_best``). With ``early_stopping`` a
sample costs nothing more once it is broken, in this restart and in those that follow.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, input_gradient, misclassified, predict
from robustscape.attacks.base.losses import LOSSES, Loss
from robustscape.attacks.base.threat import ThreatModel


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
    start: Literal["ball", "step"] = "ball",
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
        random_start: start uniformly in a ball around ``x``, else at ``x``.
        start: that ball is the threat's, or ("step") has the step as its radius if that is smaller (liu2020 section 1.2).
        restarts: independent runs; each sample keeps the point of highest loss over the restarts' points.
        loss: what is maximised (minimised towards ``y`` when ``targeted``).
        targeted: whether ``y`` are wanted classes.
        keep_best: a restart's point is its iterate of highest loss, else its last iterate.
        early_stopping: a sample leaves the batch as soon as it is misclassified (for accuracy, not for training or
            landscapes, where the worst loss is wanted).
    """
    radius = threat.eps_like(x)
    share = rel_step_size if step_size is None else step_size / radius
    return climb(
        model,
        x,
        y,
        threat,
        generator,
        objective=LOSSES[loss],
        steps=steps,
        step=rel_step_size * radius if step_size is None else step_size,
        spread=1.0 if start == "ball" else share.clamp(max=1.0) if isinstance(share, Tensor) else min(share, 1.0),
        random_start=random_start,
        restarts=restarts,
        targeted=targeted,
        keep_best=keep_best,
        early_stopping=early_stopping,
    )


def climb(
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
    restarts: int = 1,
    targeted: bool = False,
    keep_best: bool = False,
    early_stopping: bool = False,
) -> Tensor:
    """``pgd`` on any objective: per-sample losses (B,) from logits and labels.

    ``step`` and ``spread``, the radius of the starts as a share of the ball's, broadcast against ``x``.
    """
    sign = -1.0 if targeted else 1.0
    compare = keep_best or restarts > 1
    result, highest = x.clone(), x.new_full((x.shape[0],), -torch.inf)
    active = torch.arange(x.shape[0], device=x.device)
    for restart in range(restarts):
        stream = generator if restart == 0 else generator.fork(restart)  # more restarts include fewer
        point = threat.clip(x + spread * threat.random_offset(x, stream)) if random_start else x
        for iteration in range(steps + compare):
            last = iteration == steps
            if last:
                logits = predict(model, point)
                losses, gradient = objective(logits, y), point
            else:
                logits, losses, gradient = input_gradient(model, point, y, objective)
            if last or keep_best:
                better = sign * losses > highest[active]
                rows = active[better]
                result[rows], highest[rows] = point[better], sign * losses[better]
            if early_stopping:
                done = misclassified(logits, y) != targeted
                if done.any():
                    result[active[done]] = point[done]
                    active, point, gradient, x, y, threat, step, spread, generator = select(
                        ~done, active, point, gradient, x, y, threat, step, spread, generator
                    )
                    if not len(active):
                        return result
            if not last:
                point = threat.project(point + sign * step * threat.ascent(gradient), x)
        if not (compare or early_stopping):
            return point
        if not compare:
            result[active] = point
    return result
