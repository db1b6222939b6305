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

Cost: ``iterations`` forward and input-backward passes a restart and target class, and 1 forward, plus 1 forward for the
clean logits. A broken sample leaves the batch at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, confirmed, input_gradient, misclassified, predict
from robustscape.attacks.base.losses import LOSSES, dlr_targeted
from robustscape.attacks.base.threat import ThreatModel, l2_norm, per_sample
from robustscape.errors import AttackError

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
    clean = predict(model, x)
    _check_classes(loss, clean.shape[1])
    result, highest = x.clone(), x.new_full((x.shape[0],), -torch.inf)
    active = torch.arange(x.shape[0], device=x.device)
    if early_stopping:
        active, x, y, threat, generator, clean = select(
            ~misclassified(clean, y), active, x, y, threat, generator, clean
        )
    likeliest = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    targets = min(n_target_classes, clean.shape[1] - 1) if loss == "dlr_targeted" else 1
    for run in range(targets * restarts):
        if not len(active):
            break
        point, value, done = _run(
            model,
            x,
            y,
            threat,
            generator if run == 0 else generator.fork(run),
            likeliest[:, run // restarts] if loss == "dlr_targeted" else None,
            loss,
            iterations,
            rho,
            random_start,
            early_stopping,
        )
        better = done | (value > highest[active])
        rows = active[better]
        result[rows], highest[rows] = point[better], value[better]
        active, x, y, threat, generator, likeliest = select(~done, active, x, y, threat, generator, likeliest)
    return result


def _check_classes(loss: str, classes: int) -> None:
    least = {"cross_entropy": 2, "dlr": 3, "dlr_targeted": 4}[loss]
    if classes < least:
        raise AttackError(
            f"apgd with loss '{loss}' needs at least {least} classes, the model has {classes}; use loss: cross_entropy."
        )


def _run(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    target: Tensor | None,
    loss: str,
    iterations: int,
    rho: float,
    random_start: bool,
    early_stopping: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One run: points (B, ...), their losses (B,) and which of them are misclassified (B,).

    Only samples with ``early_stopping`` are ever marked as misclassified.
    """

    def objective(logits: Tensor, y: Tensor) -> Tensor:
        return LOSSES[loss](logits, y) if target is None else dlr_targeted(logits, y, target)

    result, value = x.clone(), x.new_full((x.shape[0],), -torch.inf)
    done = torch.zeros_like(value, dtype=torch.bool)
    active = torch.arange(x.shape[0], device=x.device)

    point = _sphere_point(x, threat, generator) if random_start else x
    previous = best = best_gradient = point
    step = 2.0 * (threat.eps_like(x) * x.new_ones((x.shape[0], *[1] * (x.dim() - 1))))
    best_loss = checked_loss = last_loss = value
    rises = torch.zeros_like(value)
    halved = torch.ones_like(done)  # as if just halved: condition (2) cannot hold at the first checkpoint
    window, last_check = max(int(0.22 * iterations), 1), 0

    for iteration in range(iterations + 1):
        if iteration < iterations:
            logits, losses, gradient = input_gradient(model, point, y, objective)
        else:
            logits = predict(model, point)
            losses, gradient = objective(logits, y), point  # the last point needs no gradient

        if early_stopping and (wrong := confirmed(model, point, y, misclassified(logits, y))).any():
            rows = active[wrong]
            result[rows], value[rows], done[rows] = point[wrong], losses[wrong], True
            (
                active, x, y, target, threat, point, previous, best, best_gradient, gradient, step, losses, best_loss,
                checked_loss, last_loss, rises, halved,
            ) = select(
                ~wrong, active, x, y, target, threat, point, previous, best, best_gradient, gradient, step, losses,
                best_loss, checked_loss, last_loss, rises, halved,
            )  # fmt: skip
            if not len(active):
                return result, value, done

        if iteration == 0:
            best_loss = checked_loss = losses
            best_gradient = gradient
        else:
            rises = rises + (losses > last_loss)
            better = losses > best_loss
            best_loss = torch.where(better, losses, best_loss)
            best = torch.where(per_sample(better, x), point, best)
            best_gradient = torch.where(per_sample(better, x), gradient, best_gradient)
        last_loss = losses
        if iteration == iterations:
            break

        if iteration == last_check + window:
            halved = (rises <= rho * window) | (~halved & (checked_loss >= best_loss))
            back = per_sample(halved, x)
            step = torch.where(back, step / 2, step)
            point, gradient = torch.where(back, best, point), torch.where(back, best_gradient, gradient)
            checked_loss, rises = best_loss, torch.zeros_like(rises)
            last_check = iteration
            window = max(window - max(int(0.03 * iterations), 1), max(int(0.06 * iterations), 1))

        ahead = threat.project(point + step * threat.ascent(gradient), x)
        if iteration > 0:
            ahead = threat.project(point + MOMENTUM * (ahead - point) + (1 - MOMENTUM) * (point - previous), x)
        previous, point = point, ahead

    result[active], value[active] = best, best_loss
    return result, value, done


def _sphere_point(x: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """``x`` plus a random offset of norm eps, cut to the range: the authors' start."""
    if threat.norm == "Linf":
        offset = generator.uniform(x.shape[1:]) * 2 - 1
        size = per_sample(offset.flatten(1).abs().amax(1), x)
    else:
        offset = generator.normal(x.shape[1:])
        size = l2_norm(offset)
    return threat.project(x + threat.eps_like(x) * (offset / (size + 1e-12)), x)
