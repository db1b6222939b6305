"""The notes beside numbers."""

from __future__ import annotations

import pandas as pd

from robustscape.report.notes import stand_ins


def test_stand_ins_of_several_runs_are_listed_once_each() -> None:
    of_runs = "a_7 for theirs, net for big, eps 0.1 for eps 0.3, b_7 for others"
    rows = pd.DataFrame({"stand_in": [of_runs, "a_7 for theirs, net for big", "", "c for d"], "n": [1, 1, 1, 0]})
    assert stand_ins(rows, names={}) == ["a_7 for theirs", "net for big", "eps 0.1 for eps 0.3", "b_7 for others"]


def test_a_stand_in_for_many_things_is_named_once() -> None:
    """Twenty parts of a data set for which three stand in would fill the line under a figure."""
    of_runs = ", ".join(f"b_{k} for {' + '.join(f'part{n}' for n in range(k, 20, 3))}" for k in range(3))
    rows = pd.DataFrame({"stand_in": [of_runs, "a_7 for theirs", "alone"], "n": [1, 1, 1]})
    assert stand_ins(rows, names={}) == [
        "b_0 for part0 and 6 more",
        "b_1 for part1 and 6 more",
        "b_2 for part2 and 5 more",
        "a_7 for theirs",
        "alone",
    ]
