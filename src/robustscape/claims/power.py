"""Whether the runs and images at hand could show what a work found: the power of a claim.

A claim that one mean is above another holds or fails by chance where the seeds differ by more than the means, or where so few
images were classified that as many others would have given another order. How often it would hold if the work were right follows
from the work's numbers and our errors alone, so that it can be asked without a look at the verdict: in place of each number of
ours stands the printed one, moved by

- a normal error as large as the standard error of ours over runs; numbers of the same networks move together;
- for a percentage of n images, a normal error of the variance p (1 - p) / n, p the printed share, as of a draw of n images.
  All runs see the same images, so that it does not shrink with their number.

Two numbers on the same images are paired. Of the same networks the images that one number counts are taken to be among those
that the other counts, as those that are robust within a budget are among those that are within a smaller one: a difference of d
has the variance d (1 - d) / n. Of different networks nothing in the rows says how many images one counts and the other does not;
their draws are independent, which is an upper bound of the error of their difference as long as images that are hard for one
network are not easier for the other.

A claim that would then hold in fewer than ``LEAST_POWER`` of the repetitions is not testable with these runs, whether it holds or
fails with them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: The share of repetitions in which a claim that is right has to hold (Cohen's conventional 0.8).
LEAST_POWER = 0.8
#: Repetitions; the standard error of a share of 0.8 is then 3 %.
REPETITIONS = 200
#: Percentages in whose rows ``samples`` is not what they are shares of: the size of a batch that is timed.
NOT_OF_SAMPLES = ("training_time_overhead",)


def images_of(row: Mapping[str, Any]) -> int | None:
    """Return the number of images of which the printed number of a row is a percentage; None: of none, or the row does not say.

    Args:
        row: of the item's CSV, with ``metric``, ``unit``, ``paper_value`` and, if it was measured on images, ``samples``; where
            the runs differ in it all counts, joined by ``;``, of which the smallest is returned.
    """
    if row.get("unit") != "percent" or row["metric"] in NOT_OF_SAMPLES or not 0 <= float(row["paper_value"]) <= 100:
        return None
    counts = [float(count) for count in str(row.get("samples", "")).split(";") if count not in ("", "nan", "None")]
    return int(min(counts)) if counts and min(counts) >= 1 else None


def power_of_claim(
    holds: Callable[[Mapping[Hashable, float]], bool],
    rows: Mapping[Hashable, Any],
    standard_errors: Mapping[Hashable, float],
) -> float | None:
    """Return the share of repetitions in which the claim holds, if the printed numbers are the true means.

    Args:
        holds: whether the claim holds with these numbers (label of a row -> number) in place of ours.
        rows: label -> row of the item's CSV, those that the claim reads.
        standard_errors: label -> standard error of the row's mean over runs; 0 where it has none.

    Returns:
        The share; None where the question has no answer: a number is not printed, none has an error, or the claim is false of
        the printed numbers as they stand (a bound, or a sentence that its own table contradicts).
    """
    import numpy as np

    printed = {label: float(row["paper_value"]) for label, row in rows.items()}
    if any(math.isnan(value) for value in printed.values()):
        return None
    nets: dict[Hashable, Hashable] = {label: _nets_of(row) or label for label, row in rows.items()}
    draws = _groups_of_images(rows, nets, printed)
    if not any(standard_errors.values()) and not draws:
        return None
    if not holds(printed):
        return None
    of_runs, of_images = np.random.default_rng(0), np.random.default_rng(1)
    successes = 0
    for _ in range(REPETITIONS):
        errors = {net: of_runs.standard_normal() for net in dict.fromkeys(nets.values())}
        moved = {label: printed[label] + errors[nets[label]] * standard_errors[label] for label in rows}
        for (_, images, _), levels in draws.items():
            for label, error in _errors_of_images(levels, images, of_images).items():
                moved[label] += error
        successes += holds(moved)
    return successes / REPETITIONS


def _nets_of(row: Mapping[str, Any]) -> str:
    """The networks of a number, by the hashes of their checkpoints; an empty cell, which pandas reads as NaN, names none."""
    checkpoint = row.get("checkpoint")
    return checkpoint if isinstance(checkpoint, str) else ""


def _groups_of_images(
    rows: Mapping[Hashable, Any], nets: Mapping[Hashable, Hashable], printed: Mapping[Hashable, float]
) -> dict[tuple[Hashable, int, str], dict[Hashable, float]]:
    """The percentages (label -> percentage) whose images are drawn together: of the same nets, number of images and split."""
    groups: dict[tuple[Hashable, int, str], dict[Hashable, float]] = {}
    for label, row in rows.items():
        images = images_of(row)
        if images is not None:
            groups.setdefault((nets[label], images, str(row.get("split", ""))), {})[label] = printed[label]
    return groups


def _errors_of_images(
    levels: Mapping[Hashable, float], images: int, generator: np.random.Generator
) -> dict[Hashable, float]:
    """Normal errors, in points, of percentages of a draw of ``images``, each counting a part of what a larger one counts.

    The covariance of shares p <= q is then p (1 - q) / n, that of a Brownian bridge at p and q.
    """
    order = sorted(levels, key=levels.__getitem__)
    at = [0.0, *(levels[label] / 100 for label in order), 1.0]
    steps = [generator.standard_normal() * math.sqrt(high - low) for low, high in itertools.pairwise(at)]
    walk = list(itertools.accumulate(steps))
    return {
        label: 100 * (place - share * walk[-1]) / math.sqrt(images)
        for label, share, place in zip(order, at[1:], walk, strict=False)
    }
