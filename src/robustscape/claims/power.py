"""Whether the runs at hand could show what a work found: the power of a claim.

A claim that one mean is above another holds or fails by chance where the seeds differ by more than the means. How often it would
hold if the work were right follows from the work's numbers and our errors alone, so that it can be asked without a look at the
verdict: in place of each number of ours stands the printed one, moved by a normal error as large as the standard error of ours.
A claim that would then hold in fewer than ``LEAST_POWER`` of the repetitions is not testable with these runs, whether it holds or
fails with them. Numbers of the same networks move together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

#: The share of repetitions in which a claim that is right has to hold (Cohen's conventional 0.8).
LEAST_POWER = 0.8
#: Repetitions; the standard error of a share of 0.8 is then 3 %.
REPETITIONS = 200


def power_of_claim(
    holds: Callable[[Mapping[Hashable, float]], bool],
    rows: Mapping[Hashable, Any],
    standard_errors: Mapping[Hashable, float],
) -> float | None:
    """Return the share of repetitions in which the claim holds, if the printed numbers are the true means.

    Args:
        holds: whether the claim holds with these numbers (label of a row -> number) in place of ours.
        rows: label -> row of the item's CSV, those that the claim reads.
        standard_errors: label -> standard error of the row's mean; 0 where it has none.

    Returns:
        The share; None where the question has no answer: a number is not printed, none has an error, or the claim is false of
        the printed numbers as they stand (a bound, or a sentence that its own table contradicts).
    """
    import numpy as np

    printed = {label: float(row["paper_value"]) for label, row in rows.items()}
    if not any(standard_errors.values()) or any(math.isnan(value) for value in printed.values()):
        return None
    if not holds(printed):
        return None
    nets = {label: row.get("checkpoint") or label for label, row in rows.items()}
    generator = np.random.default_rng(0)
    successes = 0
    for _ in range(REPETITIONS):
        errors = {net: generator.standard_normal() for net in dict.fromkeys(nets.values())}
        successes += holds({label: printed[label] + errors[nets[label]] * standard_errors[label] for label in rows})
    return successes / REPETITIONS
