"""The rule by which robust accuracy has collapsed: catastrophic overfitting (kim2023 section 2.3).

Used for epochs (``logs.collapse``, and while training to keep the start of the epoch) and for batches (``training.replay``).
"""

from __future__ import annotations

from collections.abc import Sequence

#: The default fraction of the highest robust accuracy so far, below which it has collapsed.
SHARE = 0.3


def collapsed(accuracies: Sequence[float], share: float = SHARE) -> list[bool]:
    """For each value, whether it is below ``share`` of the highest value before it; the first never is.

    >>> collapsed([50.0, 60.0, 10.0, 40.0])
    [False, False, True, False]
    """
    return [place > 0 and value < share * max(accuracies[:place]) for place, value in enumerate(accuracies)]


def first_collapse(accuracies: Sequence[float], share: float = SHARE) -> int | None:
    """The index of the first collapsed value; None if there is none."""
    return next((place for place, is_collapsed in enumerate(collapsed(accuracies, share)) if is_collapsed), None)
