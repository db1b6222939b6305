"""Stable single-step adversarial training: along the fast AT perturbation, the shortest step that is misclassified.

kim2023 section 2.3, equations 2.6 to 2.8 and algorithm 1 (Kim, Lee & Lee 2021):

    min_w mean_n loss( f_w(x_n + k*_n delta_n), y_n ),    k* = min{ k in {0, 1/c, ..., 1} : f(x + k delta) != y }, else 1

with delta the perturbation of fast AT: eta ~ U(-eps, eps)^d, then one step of 1.25 eps along the sign of the gradient at
x + eta, cut to the ball and to the legal range (the printed algorithm lost the sign, the cuts, and the 1 of the fallback,
which is the full delta). The test at k = 0 reuses the forward pass at x + eta, as in the author's code. At k = 1 there is nothing
to test: it is taken if no smaller k is. Cost: 1 forward and input-backward pass, c - 1 forward passes, and 1 forward and
backward (c + 4 forward-equivalents, a weight gradient counted as one).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, frozen, input_gradient, misclassified, predict
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.threat import ThreatModel
from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy, LoggedCrossEntropy


def single_step_checkpoints(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    checkpoints: Annotated[int, Field(ge=1)] = 3,
    rel_step_size: Annotated[float, Field(gt=0)] = 1.25,
) -> CrossEntropy:
    """Return the mean cross-entropy at the chosen points as an objective that logs the means of ||x' - x|| and of k*.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack: its norm, eps, range, random streams and the mode in which the model is attacked. Its
            function is not called.
        checkpoints: c; 1 trains like fast AT on samples that are right at x + eta, and on the clean input of the others.
        rel_step_size: length of the single step as a fraction of eps.
    """
    if attack.threat.eps == 0:
        return CrossEntropy(model, x, y)
    start = attack.threat.random_point(x, attack.generator)
    with frozen(model, train=attack.train_mode):
        chosen, steps = shortest_misclassified_step(model, x, start, y, attack.threat, checkpoints, rel_step_size)

    distance = attack.threat.distance(chosen, x)
    return LoggedCrossEntropy(model, chosen, y, {"mean_perturbation": distance.mean(), "mean_step": steps.mean()})


def shortest_misclassified_step(
    model: Classifier, x: Tensor, start: Tensor, y: Tensor, threat: ThreatModel, checkpoints: int, rel_step_size: float
) -> tuple[Tensor, Tensor]:
    """Return x + k* delta (B, ...) and k* (B,) in {0, 1/c, ..., 1}; ``start`` is x + eta. The caller freezes the model."""
    logits, _, gradient = input_gradient(model, start, y, cross_entropy)
    full = threat.project(start + rel_step_size * threat.eps_like(x) * threat.ascent(gradient), x)
    wrong = [misclassified(logits, y)]
    if checkpoints > 1:
        inner = torch.cat([torch.lerp(x, full, j / checkpoints) for j in range(1, checkpoints)])
        wrong += list(misclassified(predict(model, inner), y.repeat(checkpoints - 1)).chunk(checkpoints - 1))
    ends = torch.stack([*wrong, torch.ones_like(wrong[0])])  # the last is the fallback
    steps = (ends.int().argmax(0) / checkpoints).to(x)  # argmax of equal values is the first
    return torch.lerp(x, full, per_sample(steps, x)), steps  # exact at both ends
