"""Signs that a robust accuracy may mislead, as columns of the result (contract 8).

AutoAttack prints warnings of this kind (its flags_doc.md); here each is a number or a truth value that a table can
refuse.

=========================  ===========================================================================================
flag_randomised            logits of the same inputs differ between two passes: gradients and verdicts are noise
flag_zero_gradients        share of samples, in percent, whose input gradient of the cross-entropy is exactly zero
flag_softmax_outputs       the outputs are probabilities: losses of logits, and every scale of them, are off
flag_black_box_wins        attacks without gradients broken more than 0.2 % of all samples after attacks with gradients
=========================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, input_gradient, predict
from robustscape.attacks.base.losses import cross_entropy

if TYPE_CHECKING:
    from robustscape.evaluation.harness.outcome import Outcome

Flags = dict[str, float | bool]

#: Accuracy, in percentage points, that chance and query budgets may explain.
MARGIN = 0.2


def randomised(model: Classifier, x: Tensor, *, passes: int = 5, tolerance: float = 1e-4) -> bool:
    """Whether logits, scaled to unit length, differ by more than ``tolerance`` between passes of the same inputs."""
    logits = [predict(model, x) for _ in range(passes)]
    unit = [z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in logits]
    return any(bool(((a - unit[0]).norm(dim=1) > tolerance).any()) for a in unit[1:])


def zero_gradients(model: Classifier, x: Tensor, y: Tensor) -> float:
    """Percentage of samples whose cross-entropy has an input gradient of exactly zero; NaN of none."""
    if not len(x):
        return float("nan")
    _, _, gradient = input_gradient(model, x, y, cross_entropy)
    return 100.0 * (gradient.flatten(1) == 0).all(1).float().mean().item()


def softmax_outputs(model: Classifier, x: Tensor, *, tolerance: float = 1e-5) -> bool:
    """Whether the outputs are probabilities: within [0, 1] and of sum 1."""
    outputs = predict(model, x)
    within = (outputs > -tolerance).all() & (outputs < 1 + tolerance).all()
    return bool(within & ((outputs.sum(1) - 1).abs() < tolerance).all())


def of_model(model: Classifier, x: Tensor, y: Tensor) -> Flags:
    """The flags that one batch shows."""
    return {
        "flag_randomised": randomised(model, x),
        "flag_zero_gradients": zero_gradients(model, x, y),
        "flag_softmax_outputs": softmax_outputs(model, x),
    }


def black_box_wins(outcomes: Sequence[Outcome]) -> bool:
    """Whether attacks without gradients broken more than 0.2 % of all samples that attacks with gradients had left.

    Only attacks that ran after an attack with gradients count: alone, a black box has nothing to beat.
    """
    extra, seen_white_box = 0.0, False
    for outcome in outcomes:
        if outcome.spec is None:
            continue
        if outcome.backwards:
            seen_white_box = True
        elif seen_white_box:
            extra += 100.0 * outcome.broken.float().mean().item()
    return extra > MARGIN


def of_outcomes(outcomes: Sequence[Outcome]) -> Flags:
    """The flags that a finished suite shows."""
    return {"flag_black_box_wins": black_box_wins(outcomes)}


def non_monotone(accuracies: Sequence[float], *, tolerance: float = MARGIN) -> bool:
    """Whether robust accuracy (percent) rises anywhere along growing eps, steps or restarts by more than ``tolerance``.

    More room or more work cannot make an attack weaker; if it does, the attack was stuck before (gradient masking).
    """
    values = torch.tensor(list(accuracies), dtype=torch.float64)
    lowest = values.cummin(0).values
    return bool((values - lowest > tolerance).any()) if len(values) else False


def unreliable(signs: Mapping[str, float | bool]) -> bool:
    """Whether any flag is raised; zero gradients count from 1 % of the samples on."""
    return any(value >= 1.0 if isinstance(value, float) else value for value in signs.values())
