"""Counts of verdicts by the kind of claim: nets, data, theorems, toys and this project's own code are never added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from robustscape.report.words import FAILS, HOLDS, NOT_MADE, TOO_NOISY, UNDER_TRAINED

#: Kinds of claims, in the order in which they are shown, and what they are about.
KINDS = {
    "empirical": "trained nets",
    "data": "data sets, without a net",
    "theory": "theorems, checked numerically",
    "toy": "toy functions",
    "software": "this project's code",
}


def count_verdicts(claims: Iterable[Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """Return kind -> verdict -> number of claims, for every kind; ``claims`` are rows of ``claims.csv``."""
    counts: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for claim in claims:
        of_kind = counts[claim["kind"]]
        of_kind[claim["verdict"]] = of_kind.get(claim["verdict"], 0) + 1
    return counts


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Return the counts of one kind as a sentence part.

    >>> counts_in_words({"holds": 3, "fails": 1, "not testable: under-trained": 2})
    '3 of 4 tested hold, 2 not testable: under-trained'
    >>> counts_in_words({})
    'none'
    """
    if not counts:
        return "none"
    tested = counts.get(HOLDS, 0) + counts.get(FAILS, 0)
    parts = [f"{counts.get(HOLDS, 0)} of {tested} tested {'holds' if tested == 1 else 'hold'}"] if tested else []
    order = (UNDER_TRAINED, TOO_NOISY, NOT_MADE)
    rest = sorted((v for v in counts if v not in (HOLDS, FAILS)), key=lambda v: (v not in order, v))
    return ", ".join([*parts, *(f"{counts[verdict]} {verdict}" for verdict in rest)])
