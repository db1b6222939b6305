"""The rule by which training has collapsed: catastrophic overfitting (kim2023 sections 2.2.3 and 2.3).

Robustness against a multi-step attack is lost while robustness against the single step grows. Two signs of it, of an epoch or a
batch with the accuracies r (multi-step) and s (single step), in percent:

    lost     r is below ``share`` of its highest value before, that was at least ``ROBUST``, and s is above its value there
    masked   r < ``BROKEN`` and s - r > ``GAP``: the single step no longer finds what several find

A net that never was robust has not collapsed unless it is masked, and has not "avoided a collapse" either: ``training_state``
tells the cases apart. Used for epochs (``logs.collapse``, and while training to keep the start of the epoch) and for batches
(``training.replay``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

#: The default fraction of the highest robust accuracy so far, below which it is lost.
SHARE = 0.3

#: Accuracy under the multi-step attack in percent, from which a net counts as robust.
ROBUST = 20.0

#: Accuracy under the multi-step attack in percent, below which a net is broken.
BROKEN = 10.0

#: Percentage points by which the single step must leave more samples right than the multi-step attack.
GAP = 30.0

State = Literal["collapsed", "robust throughout", "never robust", "faded"]


def collapsed(robust: Sequence[float], single: Sequence[float], share: float = SHARE) -> list[bool]:
    """For each place, whether training has collapsed there.

    Args:
        robust: accuracies under the multi-step attack, in percent.
        single: accuracies under the single step, in percent, at the same places.
        share: fraction of the highest robust accuracy so far.

    >>> collapsed([20.0, 60.0, 10.0, 40.0], [30.0, 65.0, 90.0, 60.0])
    [False, False, True, False]
    >>> collapsed([20.0, 60.0, 11.0], [30.0, 65.0, 40.0])  # both are lost: a bad epoch, but no overfitting to the single step
    [False, False, False]
    """
    found = []
    for place, (now, one) in enumerate(zip(robust, single, strict=True)):
        peak = max(range(place), key=lambda i: robust[i], default=None)
        lost = peak is not None and robust[peak] >= ROBUST and now < share * robust[peak] and one > single[peak]
        found.append(lost or (now < BROKEN and one - now > GAP))
    return found


def first_collapse(robust: Sequence[float], single: Sequence[float], share: float = SHARE) -> int | None:
    """The index of the first collapsed place; None if there is none."""
    return next((place for place, is_collapsed in enumerate(collapsed(robust, single, share)) if is_collapsed), None)


def collapse_onsets(robust: Sequence[float], single: Sequence[float], share: float = SHARE) -> list[int]:
    """The indices of the places, after the first, that are collapsed while the one before was not."""
    is_collapsed = collapsed(robust, single, share)
    return [i for i in range(1, len(is_collapsed)) if is_collapsed[i] and not is_collapsed[i - 1]]


def training_state(robust: Sequence[float], single: Sequence[float], share: float = SHARE) -> State:
    """What became of a training.

    "collapsed" at some place, for good or not; "robust throughout": robust at some place, and from there on never below
    ``share`` of the highest value before; "never robust"; "faded": it was robust and is no longer, and so is the single step.

    >>> training_state([2.0, 3.0, 1.0], [5.0, 4.0, 3.0])
    'never robust'
    """
    if any(collapsed(robust, single, share)):
        return "collapsed"
    if max(robust) < ROBUST:
        return "never robust"
    start = next(i for i, value in enumerate(robust) if value >= ROBUST)
    kept = all(robust[i] >= share * max(robust[:i]) for i in range(start + 1, len(robust)))
    return "robust throughout" if kept else "faded"
