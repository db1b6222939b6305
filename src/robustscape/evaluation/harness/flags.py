"""Signs that a robust accuracy may mislead, as columns of the result (contract 8).

AutoAttack prints warnings of this kind (its flags_doc.md); here each is a number or a truth value in every row. An attack is
gradient-free if it made no backward pass.

=========================  ===========================================================================================
flag_randomised            logits of the same inputs differ between two passes: gradients and verdicts are noise
flag_batch_dependent       the logits of a sample depend on the others of its batch: accuracies depend on the batch size
flag_zero_gradients        share of samples, in percent, whose input gradient is exactly zero: of the loss that an attack follows
                           (of several, the worst), else of the cross-entropy; NaN if no attack made a backward pass
flag_softmax_outputs       the outputs are probabilities: losses of logits, and every scale of them, are off
flag_black_box_wins        gradient-free attacks broke more than 0.2 % of all samples, after attacks that use gradients
=========================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, input_gradient, predict
from robustscape.attacks.base.losses import LOSSES, Loss, cross_entropy, dlr_targeted
from robustscape.evaluation.percentages import percent_true_fp32

if TYPE_CHECKING:
    from robustscape.evaluation.harness.outcome import Outcome

Flags = dict[str, float | bool]

#: Flag -> what it means that it is raised.
REASONS: dict[str, str] = {
    "flag_randomised": "the logits of the same inputs differ between two passes, so gradients and verdicts are noise; average "
    "over passes inside the model",
    "flag_batch_dependent": "the logits of a sample depend on the others of its batch (batch normalisation by the batch's "
    "statistics?), so accuracies depend on the batch size",
    "flag_zero_gradients": "input gradients are exactly zero, so attacks that follow them see nothing (saturated losses, "
    "quantisation or thresholds inside the model)",
    "flag_softmax_outputs": "the model returns probabilities; give its logits, or losses and their scales are off",
    "flag_black_box_wins": "attacks without gradients broke samples that attacks with gradients could not: the gradients mislead",
}

#: Accuracy, in percentage points, that chance and query budgets may explain.
MARGIN = 0.2


def randomised(model: Classifier, x: Tensor, *, passes: int = 5, tolerance: float = 1e-4) -> bool:
    """Return true if logits, scaled to unit length, differ by more than ``tolerance`` between passes of the same inputs."""
    logits = [predict(model, x) for _ in range(passes)]
    unit = [z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in logits]
    return any(bool(((a - unit[0]).norm(dim=1) > tolerance).any()) for a in unit[1:])


def batch_dependent(model: Classifier, x: Tensor, *, samples: int = 4, tolerance: float = 1e-3) -> bool:
    """Return true if the logits of a sample change with its company, as with batch normalisation by the batch's statistics.

    The first ``samples`` are passed alone and with all of ``x`` (B, ...), a single one with a copy that is mirrored in value. The
    tolerance is relative to the largest logit: kernels for other batch sizes round differently. A model that answers the same
    batch differently cannot be judged, and is not (``randomised``).
    """
    company = x if len(x) > 1 else torch.cat([x, x.amax() + x.amin() - x])
    together, again = predict(model, company), predict(model, company)
    scale = together.abs().amax() * tolerance
    if (together - again).abs().amax() > scale:
        return False
    for row in range(min(samples, len(x))):
        try:
            alone = predict(model, x[row : row + 1])
        except ValueError:  # batch normalisation refuses a batch of one value per channel
            return True
        if (alone[0] - together[row]).abs().amax() > scale:
            return True
    return False


def zero_gradients(model: Classifier, x: Tensor, y: Tensor, loss: Loss = cross_entropy) -> float:
    """Return the percentage of samples whose loss has an input gradient of exactly zero; NaN of none."""
    if not len(x):
        return float("nan")
    _, _, gradient = input_gradient(model, x, y, loss)
    return percent_true_fp32((gradient.flatten(1) == 0).all(1))


def softmax_outputs(model: Classifier, x: Tensor, *, tolerance: float = 1e-5) -> bool:
    """Return true if the outputs are probabilities: within [0, 1] and of sum 1."""
    outputs = predict(model, x)
    within = (outputs > -tolerance).all() & (outputs < 1 + tolerance).all()
    return bool(within & ((outputs.sum(1) - 1).abs() < tolerance).all())


def of_model(model: Classifier, x: Tensor, y: Tensor, losses: Sequence[str] = ("cross_entropy",)) -> Flags:
    """Return the flags that one batch shows: of the model, at inputs ``x`` (B, ...) with labels ``y`` (B,).

    Args:
        model: logits (B, C) from inputs.
        x: inputs.
        y: labels.
        losses: names of the losses that attacks follow; none: no attack asks for a gradient.
    """
    return {
        "flag_randomised": randomised(model, x),
        "flag_batch_dependent": batch_dependent(model, x),
        "flag_zero_gradients": max(
            (zero_gradients(model, x, y, _LOSSES[name]) for name in losses), default=float("nan")
        ),
        "flag_softmax_outputs": softmax_outputs(model, x),
    }


def _dlr_towards_second(logits: Tensor, y: Tensor) -> Tensor:
    """The targeted DLR loss (B,) towards the likeliest wrong class, with which Auto-PGD begins."""
    return dlr_targeted(logits, y, logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1))


_LOSSES: dict[str, Loss] = {**LOSSES, "dlr_targeted": _dlr_towards_second}


def losses_followed(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the names of the losses whose gradients attacks asked for; of one without a parameter ``loss``, "cross_entropy"."""
    asked = [outcome.spec for outcome in outcomes if outcome.spec is not None and outcome.backwards]
    names = {str(spec.parameters.get("loss", "cross_entropy")) for spec in asked}
    return sorted(name if name in _LOSSES else "cross_entropy" for name in names)


def black_box_wins(outcomes: Sequence[Outcome]) -> bool:
    """Return true if gradient-free attacks broke more than ``MARGIN`` of all samples that attacks with gradients had left.

    A gradient-free attack counts only if an attack with gradients ran before it: there must be something to beat.
    """
    extra, seen_white_box = 0.0, False
    for outcome in outcomes:
        if outcome.spec is None:
            continue
        if outcome.backwards:
            seen_white_box = True
        elif seen_white_box:
            extra += percent_true_fp32(outcome.broken)
    return extra > MARGIN


def of_outcomes(outcomes: Sequence[Outcome]) -> Flags:
    """Return the flags that the outcomes of a finished suite show."""
    return {"flag_black_box_wins": black_box_wins(outcomes)}


def non_monotone(accuracies: Sequence[float], *, tolerance: float = MARGIN) -> bool:
    """Return true if robust accuracy (percent) rises by more than ``tolerance`` anywhere along growing eps, steps or restarts.

    More room or more work cannot make an attack weaker; if it does, the attack was stuck before (gradient masking).
    """
    values = torch.tensor(list(accuracies), dtype=torch.float64)
    lowest = values.cummin(0).values
    return bool((values - lowest > tolerance).any()) if len(values) else False


def unreliable(signs: Mapping[str, float | bool]) -> bool:
    """Return true if any flag is raised; zero gradients count from 1 % of the samples on."""
    return any(value >= 1.0 if isinstance(value, float) else value for value in signs.values())
