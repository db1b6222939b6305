"""Signs that a robust accuracy may mislead, as columns of the result (contract 8).

AutoAttack prints warnings of this kind (its flags_doc.md); here each is a number or a truth value in every row. An attack is
gradient-free if it made no backward pass. Flags of the model are seen on ``FLAG_SAMPLES`` samples, evenly spaced over the set.

=========================  ===========================================================================================
flag_randomised            logits of the same inputs differ between two passes, or from those before the first attack, or a
                           verdict is not found again: gradients and verdicts are noise
flag_batch_dependent       the logits of a sample depend on the others of its batch: accuracies depend on the batch size
flag_zero_gradients        share of samples, in percent, whose input gradient is zero or underflows, so that digits are lost: of
                           the loss that an attack follows (of several, the worst), else of the cross-entropy; NaN if no attack
                           made a backward pass
flag_nonfinite_gradients   the same of those whose input gradient holds NaN or infinity
flag_softmax_outputs       the outputs are probabilities: losses of logits, and every scale of them, are off
flag_black_box_wins        gradient-free attacks broke more than 0.2 % of all samples, after attacks that use gradients
=========================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, input_gradient, predict
from robustscape.attacks.base.losses import LOSSES, Loss, cross_entropy, dlr_targeted
from robustscape.attacks.base.scaling import unit_l2
from robustscape.evaluation.percentages import percent_true_fp32

if TYPE_CHECKING:
    from robustscape.evaluation.harness.outcome import Outcome

Flags = dict[str, float | bool]

#: Flag -> what it means that it is raised.
REASONS: dict[str, str] = {
    "flag_randomised": "the logits of the same inputs differ between two passes, or a verdict is not found again, so gradients "
    "and verdicts are noise; average over passes inside the model",
    "flag_batch_dependent": "the logits of a sample depend on the others of its batch (batch normalisation by the batch's "
    "statistics?), so accuracies depend on the batch size",
    "flag_zero_gradients": "input gradients are zero or underflow, so attacks that follow them see nothing (a cross-entropy "
    "that saturates where logits are far apart: use an attack on a loss that does not, such as cw_linf, apgd_dlr or pgd with "
    "loss=margin; else quantisation or thresholds inside the model)",
    "flag_nonfinite_gradients": "input gradients hold NaN or infinity, so attacks that follow them go nowhere (the root of 0, a "
    "division by 0 inside the model)",
    "flag_softmax_outputs": "the model returns probabilities; give its logits, or losses and their scales are off",
    "flag_black_box_wins": "attacks without gradients broke samples that attacks with gradients could not: the gradients mislead",
}

#: Accuracy, in percentage points, that chance and query budgets may explain.
MARGIN = 0.2

#: Samples that are looked at; those that are also passed alone.
FLAG_SAMPLES, ALONE = 128, 8

#: Flags whose value is a share of samples, in percent -> the share from which on it counts.
LEAST_SHARES = {"flag_zero_gradients": 1.0, "flag_nonfinite_gradients": 1e-9}


def spread_rows(count: int, rows: int = FLAG_SAMPLES) -> Tensor:
    """Return the numbers of at most ``rows`` of ``count`` samples, int64: evenly spaced, the first and the last among them."""
    rows = min(count, rows)
    return torch.arange(rows) * (count - 1) // max(rows - 1, 1)


def all_logits(model: Classifier, x: Tensor, batch_size: int | None = None) -> Tensor:
    """Return the logits (N, C) of ``x`` (N, ...), ``batch_size`` samples at a time; None: at once."""
    return torch.cat([predict(model, piece.clone()) for piece in x.split(batch_size or max(len(x), 1))])


def randomised(
    model: Classifier,
    x: Tensor,
    *,
    batch_size: int | None = None,
    before: Tensor | None = None,
    passes: int = 5,
    tolerance: float = 1e-4,
) -> bool:
    """Return true if logits, scaled to unit length, differ by more than ``tolerance`` between passes of the same inputs.

    One of the ``passes`` is ``before``, logits (N, C) of ``all_logits`` of the same ``x`` and ``batch_size``, if it is given.
    """
    logits = [] if before is None else [before]
    logits += [all_logits(model, x, batch_size) for _ in range(passes - len(logits))]
    unit = [unit_l2(z) for z in logits]
    return any(bool(((a - unit[0]).norm(dim=1) > tolerance).any()) for a in unit[1:])


def batch_dependent(model: Classifier, x: Tensor, *, samples: int = ALONE, tolerance: float = 1e-3) -> bool:
    """Return true if the logits of a sample change with its company, as with batch normalisation by the batch's statistics.

    ``samples`` of them, evenly spaced, are passed alone and with all of ``x`` (B, ...), a single one with a copy that is mirrored
    in value. The tolerance is relative to the largest logit: kernels for other batch sizes round differently. A model that
    answers the same batch differently cannot be judged, and is not (``randomised``).
    """
    company = x if len(x) > 1 else torch.cat([x, x.amax() + x.amin() - x])
    together, again = predict(model, company.clone()), predict(model, company.clone())
    scale = together.abs().amax() * tolerance
    if (together - again).abs().amax() > scale:
        return False
    for row in spread_rows(len(x), samples).tolist():
        try:
            alone = predict(model, x[row : row + 1].clone())
        except ValueError:  # batch normalisation refuses a batch of one value per channel
            return True
        if (alone[0] - together[row]).abs().amax() > scale:
            return True
    return False


def verdicts_differ(
    model: Classifier,
    x_adv: Tensor,
    y: Tensor,
    broken: Tensor,
    *,
    batch_size: int | None = None,
    tolerance: float = 1e-2,
) -> bool:
    """Return true if a verdict is not found again: a broken sample's label has the highest logit, or another one's has not.

    Args:
        model: logits (B, C) from inputs.
        x_adv: the points that broke samples, the clean inputs of the others, (N, ...).
        y: labels (N,).
        broken: the verdicts, bool (N,).
        batch_size: samples of a pass.
        tolerance: the lead, as a share of the largest logit, that rounding may explain.
    """
    logits = all_logits(model, x_adv, batch_size)
    label = logits.gather(1, y[:, None]).squeeze(1)
    lead = label - logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return bool((torch.where(broken, lead, -lead) > tolerance * logits.abs().amax()).any())


def gradient_faults(
    model: Classifier, x: Tensor, y: Tensor, loss: Loss = cross_entropy, *, batch_size: int | None = None
) -> tuple[float, float]:
    """Return the percentages of samples whose loss has an input gradient that vanishes, and one that is not finite.

    It vanishes if all of it is zero, or below the smallest number of full precision: the cross-entropy's in fp32 where the
    label's logit leads by 87 or so; from 104 on it is zero. Both percentages are NaN if there are no samples.
    """
    if not len(x):
        return float("nan"), float("nan")
    size = batch_size or len(x)
    pieces = zip(x.split(size), y.split(size), strict=True)
    gradient = torch.cat([input_gradient(model, x.clone(), y, loss)[2] for x, y in pieces]).flatten(1)
    vanishes = gradient.abs().amax(1) < torch.finfo(gradient.dtype).tiny
    return percent_true_fp32(vanishes), percent_true_fp32(~gradient.isfinite().all(1))


def are_probabilities(outputs: Tensor, *, tolerance: float = 1e-5) -> bool:
    """Return true if outputs (B, C) are probabilities: within [0, 1] and of sum 1."""
    within = (outputs > -tolerance).all() & (outputs < 1 + tolerance).all()
    return bool(within & ((outputs.sum(1) - 1).abs() < tolerance).all())


@dataclass(frozen=True)
class Verdicts:
    """What an evaluation found of the samples that flags look at."""

    x_adv: Tensor
    """The points that broke samples, the clean inputs of the others, (B, ...)."""
    broken: Tensor
    """Bool (B,)."""


def of_model(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    losses: Sequence[str] = ("cross_entropy",),
    *,
    batch_size: int | None = None,
    before: Tensor | None = None,
    verdicts: Verdicts | None = None,
) -> Flags:
    """Return the flags that the model shows at inputs ``x`` (B, ...) with labels ``y`` (B,).

    Args:
        model: logits (B, C) from inputs.
        x: inputs; of an evaluation, those of ``spread_rows``.
        y: labels.
        losses: names of the losses that attacks follow; none: no attack asks for a gradient.
        batch_size: samples of a pass; None: all. At least ``ALONE`` are passed together, to see whether they are independent.
        before: logits of ``all_logits`` before the first attack; None: there was none.
        verdicts: what is found again by a model that answers the same every time; None: nothing.
    """
    before = all_logits(model, x, batch_size) if before is None else before
    together = spread_rows(len(x), max(batch_size or len(x), ALONE)).to(x.device)
    depends = batch_dependent(model, x[together])
    changes = randomised(model, x, batch_size=batch_size, before=before)
    if verdicts is not None and not depends and not changes:
        changes = verdicts_differ(model, verdicts.x_adv, y, verdicts.broken, batch_size=batch_size)
    faults = [gradient_faults(model, x, y, _LOSSES[name], batch_size=batch_size) for name in losses]
    return {
        "flag_randomised": changes,
        "flag_batch_dependent": depends,
        "flag_zero_gradients": max((zero for zero, _ in faults), default=float("nan")),
        "flag_nonfinite_gradients": max((broken for _, broken in faults), default=float("nan")),
        "flag_softmax_outputs": are_probabilities(before),
    }


def _dlr_towards_second(logits: Tensor, y: Tensor) -> Tensor:
    """The targeted DLR loss (B,) towards the likeliest wrong class, with which Auto-PGD begins."""
    return dlr_targeted(logits, y, logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1))


_LOSSES: dict[str, Loss] = {**LOSSES, "dlr_targeted": _dlr_towards_second}

#: Attacks without a parameter ``loss`` that follow another one than the cross-entropy.
_OWN_LOSSES = {"cw_linf": "margin", "fab": "margin"}


def losses_followed(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the names of the losses whose gradients attacks asked for; "cross_entropy" where an attack does not say."""
    asked = [outcome.spec for outcome in outcomes if outcome.spec is not None and outcome.backwards]
    names = {str(spec.parameters.get("loss", _OWN_LOSSES.get(spec.attack, "cross_entropy"))) for spec in asked}
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
    """Return true if any flag is raised; zero gradients count from 1 % of the samples on, those that are not finite of any."""
    return any(
        value >= LEAST_SHARES.get(name, 1.0) if isinstance(value, float) else value for name, value in signs.items()
    )
