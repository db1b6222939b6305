"""Hierarchical PGD: towards every class outside the superclass, until one is reached.

ma2025 eq 5.1 and algorithm 5.1. For each target t not in z*, the superclass of y:

    x_0     = x + uniform in the ball, afresh for each target
    x_{k+1} = P( x_k - step * sign(grad_x CE(f(x_k), t)) )                      (L2: g / ||g||_2)

and the run succeeds, and is the last, by what the model says of x_K:

    ``superclass``  its class lies outside z*, whichever it is (the stronger reading, and never the smaller success);
    ``target``      its class is t, as algorithm 5.1 is printed.

A sample that is in a wrong superclass already is returned as it is: it counts as broken. So does nothing else: a
sample no target succeeds for is returned unperturbed under ``target``, and under ``superclass`` at the tried point of
lowest superclass probability. Either way the superclass accuracy of what is returned is the accuracy under the
attack.

Targets are tried by falling probability on x, which changes the cost, not the outcome, of a deterministic attack.
Cost: 1 forward pass and, for each target tried, ``steps`` forward and input-backward and 1 forward pass; samples that
were reached leave the batch.
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
    targets: Literal["worst", "average"] = "worst",
    success: Literal["superclass", "target"] = "superclass",
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: classes (B,), not superclasses.
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        superclass: of class 0, 1, ..., C - 1.
        steps: gradient steps towards one target.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        targets: ``worst`` tries all, ``average`` one drawn uniformly.
        success: when a sample counts as broken, see above.
    """
    objective = group_loss(superclass)
    with torch.no_grad():
        logits = model(x)
    eligible = ~same_superclass(superclass, logits, y)
    if targets == "worst":
        order = logits.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
    else:
        # Eligible classes come first in ``ranked``, in order of their index; one of them is drawn.
        ranked = eligible.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        draw = (generator.uniform(()) * eligible.sum(1)).long().clamp(max=logits.shape[1] - 1)
        order = ranked.gather(1, draw[:, None])
    tries = eligible.sum(1) if targets == "worst" else eligible.any(1).long()

    result = x.clone()
    farthest = torch.full((x.shape[0],), -torch.inf, device=x.device, dtype=logits.dtype)
    standing = ~outside_superclass(superclass, logits, y)
    for rank in range(order.shape[1]):
        active = (standing & (rank < tries)).nonzero().squeeze(1)
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
            away = objective(reached, y[active])
            keep = broken | (away > farthest[active])
            farthest[active] = torch.maximum(away, farthest[active])
        result[active[keep]] = candidate[keep]
        standing[active[broken]] = False
    return result
