"""SimBA, the simple black-box attack: random search over one coordinate at a time.

Guo et al. (2019), algorithm 1 with the pixel basis, in an L-infinity ball as in ma2025 section 3.4.2: visit the coordinates
in a random order; at each, try +q, then -q (q = eps), and keep the first change that lowers the probability of the label.
Every coordinate is visited once, so none leaves the ball.

Cost: 1 forward pass, and at most 2 per coordinate. A sample leaves the batch as soon as it is broken.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.active import select_rows
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.threat import ThreatModel


def simba(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    coordinates: Annotated[int, Field(ge=1)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 1.0,
) -> Tensor:
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: labels (B,).
        threat: norm, eps (a number, or one per sample) and range; in L2 a step beyond the ball is projected back.
        generator: random streams, one per sample.
        coordinates: number of coordinates visited; None: all.
        rel_step_size: q as a fraction of eps.
    """
    shape, count = x.shape, x[0].numel() if len(x) else 0
    x = x.flatten(1)
    result, point = x.clone(), x
    order = generator.uniform((count,)).argsort(dim=1)
    step = rel_step_size * (threat.eps_like(x) * torch.ones_like(x[:, :1]))
    logits = predict(model, x.reshape(shape))
    # The cross-entropy is -log p_y: it rises when p_y falls, and does not saturate where p_y rounds to 1.
    loss, done = cross_entropy(logits, y), misclassified(logits, y)
    active = torch.arange(len(x), device=x.device)

    def attempt(rows: Tensor, moves: Tensor, visit: int) -> None:
        """Try ``moves`` (b, 1) of one coordinate on the active samples ``rows`` (b,); keep those that raise the loss."""
        nonlocal point, loss, done
        old = point[rows]
        candidate = old.scatter_add(1, order[rows, visit, None], moves)
        candidate = threat.select(rows).project(candidate, x[rows])
        logits = predict(model, candidate.view(-1, *shape[1:]))
        value = cross_entropy(logits, y[rows])
        better = value > loss[rows]
        point = point.index_put((rows,), torch.where(per_sample(better, old), candidate, old))
        loss = loss.index_put((rows,), torch.where(better, value, loss[rows]))
        done = done.index_put((rows,), better & misclassified(logits, y[rows]))

    for visit in range(min(coordinates or count, count)):
        if done.any():
            result[active[done]] = point[done]
            active, point, x, y, threat, order, step, loss, done = select_rows(
                ~done, active, point, x, y, threat, order, step, loss, done
            )
        if not len(active):
            return result.reshape(shape)
        before = loss
        everyone = torch.arange(len(active), device=x.device)
        attempt(everyone, step, visit)
        others = (loss == before).nonzero().squeeze(1)
        if len(others):
            attempt(others, -step[others], visit)
    result[active] = point
    return result.reshape(shape)
