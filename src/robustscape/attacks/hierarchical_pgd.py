"""Hierarchical PGD: targeted PGD towards each class outside the superclass, until one is reached.

ma2025 eq 5.1 and algorithm 5.1. For each target t not in z*, the superclass of y:

    x_0     = x + uniform in the ball, drawn anew for each target
    x_{k+1} = P( x_k - step * sign(grad_x CE(f(x_k), t)) )                      (L2: g / ||g||_2)

The targets end for a sample when the predicted class of x_K meets the criterion ``success``, of which the work's text allows
three; each breaks no more samples than the one before it:

    ``superclass``         it lies outside z*, whichever class it is;
    ``target_superclass``  it lies in the superclass of t;
    ``target``             it is t, as algorithm 5.1 is printed.

A sample that is already predicted in a wrong superclass counts as broken and is returned unchanged. A sample for which no
target succeeds is returned unchanged, under ``superclass`` as the tried point of lowest superclass probability. Either way, the
superclass accuracy of the returned inputs is the robust superclass accuracy.

Targets are tried in the order of falling probability on x. The random stream of a start belongs to the sample and the target, so
that order, and who has left, change the cost and not the outcome. Cost: 1 forward pass and, for each target tried, ``steps``
forward and input-backward and 1 forward pass; broken samples leave the batch. In a ``HierarchicalNetwork`` a step towards a
target passes the meta-classifier and one leaf classifier only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks._hierarchy import class_superclasses, group_loss, outside_superclass, same_superclass
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd, projected_ascent
from robustscape.models.hierarchical import HierarchicalNetwork


@dataclass(frozen=True)
class Trial:
    """What came of one target a sample, for some samples of a batch."""

    rows: Tensor
    """Places of the samples in the batch, int64 (R,)."""
    goal: Tensor
    """The target of each, int64 (R,)."""
    point: Tensor
    """The last iterate, (R, ...)."""
    logits: Tensor
    """Of the model there, (R, C)."""

    def successes(self, superclass: list[int], y: Tensor) -> dict[str, Tensor]:
        """Return criterion -> which samples meet it, bool (R,), in the order of the module's list.

        Args:
            superclass: the superclass of each class.
            y: labels of the whole batch (B,).
        """
        members, predicted = class_superclasses(superclass, self.logits), self.logits.argmax(1)
        return {
            "superclass": members[predicted] != members[y[self.rows]],
            "target_superclass": members[predicted] == members[self.goal],
            "target": predicted == self.goal,
        }


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
    success: Literal["superclass", "target_superclass", "target"] = "superclass",
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
    result, highest_loss = x.clone(), torch.full((x.shape[0],), -torch.inf, device=x.device, dtype=torch.float64)

    def visit(trial: Trial) -> Tensor:
        keep = broken = trial.successes(superclass, y)[success]
        if success == "superclass":
            losses = objective(trial.logits, y[trial.rows]).double()
            keep = broken | (losses > highest_loss[trial.rows])
            highest_loss[trial.rows] = torch.maximum(losses, highest_loss[trial.rows])
        result[trial.rows[keep]] = trial.point[keep]
        return broken

    for_each_target(
        model,
        x,
        y,
        threat,
        generator,
        visit,
        superclass=superclass,
        steps=steps,
        step_size=step_size,
        rel_step_size=rel_step_size,
        case=case,
    )
    return result


def for_each_target(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    visit: Callable[[Trial], Tensor],
    *,
    superclass: list[int],
    steps: int,
    step_size: float | None,
    rel_step_size: float,
    case: Literal["worst", "average"] = "worst",
) -> None:
    """Try the targets of each sample, and call ``visit`` with what came of it; samples for which it returns True (R,) are done.

    Samples predicted in a wrong superclass are not tried. The other arguments are those of ``hierarchical_pgd``.
    """
    with torch.no_grad():
        logits = model(x)
    eligible = ~same_superclass(superclass, logits, y)
    if case == "worst":
        order = logits.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
        tries = eligible.sum(1)
    else:
        order, tries = uniform_target(eligible, generator)[:, None], eligible.any(1).long()
    streams = torch.stack([generator.fork(target).keys for target in range(logits.shape[1])])
    left = ~outside_superclass(superclass, logits, y)
    for rank in range(order.shape[1]):
        rows = (left & (rank < tries)).nonzero().squeeze(1)
        if not len(rows):
            break
        goal = order[rows, rank]
        point = _approach(
            model,
            x[rows],
            goal,
            threat.select(rows),
            SampleGenerator(streams[goal, rows]),
            steps=steps,
            step_size=step_size,
            rel_step_size=rel_step_size,
        )
        with torch.no_grad():
            reached = model(point)
        left[rows[visit(Trial(rows, goal, point, reached))]] = False


def uniform_target(eligible: Tensor, generator: SampleGenerator) -> Tensor:
    """Return a class of each sample, int64 (B,), drawn uniformly among those that are true in ``eligible``, bool (B, C)."""
    count = eligible.sum(1)
    # In ``ranked`` the eligible classes come first, by index; one of them is drawn.
    ranked = eligible.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    draw = torch.minimum((generator.uniform(()) * count).long(), (count - 1).clamp_min(0))
    return ranked.gather(1, draw[:, None]).squeeze(1)


def _approach(
    model: Classifier,
    x: Tensor,
    goal: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    steps: int,
    step_size: float | None,
    rel_step_size: float,
) -> Tensor:
    """Return the last iterate of PGD from a uniform start towards the classes ``goal``, (R, ...)."""
    network = model.model if isinstance(model, SearchModel) else model
    if not isinstance(network, HierarchicalNetwork):
        return pgd(
            model,
            x,
            goal,
            threat,
            generator,
            steps=steps,
            step_size=step_size,
            rel_step_size=rel_step_size,
            targeted=True,
        )

    def answer(point: Tensor) -> Tensor:  # the cross-entropy of log-probabilities is minus the first of them
        found = network.label_log_probability(point, goal)
        return torch.stack([found, torch.zeros_like(found)], 1)

    return projected_ascent(
        answer,
        x,
        goal,
        threat,
        generator,
        objective=lambda logits, _: -logits[:, 0],
        steps=steps,
        step=rel_step_size * threat.eps_like(x) if step_size is None else step_size,
        random_start=True,
        targeted=True,
    )
