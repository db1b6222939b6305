"""Hierarchical PGD: targeted PGD towards each class outside the superclass, until one is reached.

ma2025 eq 5.1 and algorithm 5.1. For each target t not in z*, the superclass of y:

    x_0     = x + uniform in the ball, drawn anew for each target
    x_{k+1} = P( x_k - step * sign(grad_x CE(f(x_k), t)) )                      (L2: g / ||g||_2)

The targets end for a sample when the predicted class of x_K meets the criterion ``success``:

    ``superclass``  it lies outside z*, whichever class it is (the stronger reading: it never breaks fewer samples);
    ``target``      it is t, as algorithm 5.1 is printed.

A sample that is already predicted in a wrong superclass counts as broken and is returned unchanged. A sample for which no
target succeeds is returned unchanged under ``target``, and under ``superclass`` as the tried point of lowest superclass
probability. Either way, the superclass accuracy of the returned inputs is the robust superclass accuracy.

Targets are tried in the order of falling probability on x, which for a deterministic attack changes the cost and not the
outcome. Cost: 1 forward pass and, for each target tried, ``steps`` forward and input-backward and 1 forward pass; broken
samples leave the batch.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._hierarchy import group_loss, outside_superclass, same_superclass
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd


def hierarchical_pgd(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    superclass: list[int],
    steps: Annotated[int, Field(ge=1)] = 20,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    case: Literal["worst", "average"] = "worst",
    success: Literal["superclass", "target"] = "superclass",
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: classes (B,), not superclasses.
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        superclass: the superclass of each class 0, 1, ..., C - 1.
        steps: gradient steps towards one target.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        case: ``worst`` tries all targets, ``average`` one target drawn uniformly.
        success: the criterion by which a sample counts as broken, see above.

    Raises:
        AttackError: ``superclass`` does not have one entry per class, or has a single superclass.
    """
    objective = group_loss(superclass)
    with torch.no_grad():
        logits = model(x)
    eligible = ~same_superclass(superclass, logits, y)
    if case == "worst":
        order = logits.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
    else:
        # In ``ranked`` the eligible classes come first, by index; one of them is drawn.
        ranked = eligible.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        draw = (generator.uniform(()) * eligible.sum(1)).long().clamp(max=logits.shape[1] - 1)
        order = ranked.gather(1, draw[:, None])
    tries = eligible.sum(1) if case == "worst" else eligible.any(1).long()

    result = x.clone()
    highest_loss = torch.full((x.shape[0],), -torch.inf, device=x.device, dtype=logits.dtype)
    robust = ~outside_superclass(superclass, logits, y)
    for rank in range(order.shape[1]):
        active = (robust & (rank < tries)).nonzero().squeeze(1)
        if not len(active):
            break
        goal = order[active, rank]
        candidate = pgd(
            model,
            x[active],
            goal,
            threat.select(active),
            generator.select(active).fork(rank),
            steps=steps,
            step_size=step_size,
            rel_step_size=rel_step_size,
            targeted=True,
        )
        with torch.no_grad():
            reached = model(candidate)
        broken = outside_superclass(superclass, reached, y[active])
        if success == "target":
            keep = broken = reached.argmax(1) == goal
        else:
            losses = objective(reached, y[active])
            keep = broken | (losses > highest_loss[active])
            highest_loss[active] = torch.maximum(losses, highest_loss[active])
        result[active[keep]] = candidate[keep]
        robust[active[broken]] = False
    return result
