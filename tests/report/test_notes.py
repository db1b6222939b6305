"""The notes beside numbers."""

from __future__ import annotations

import pandas as pd

from robustscape.report.notes import stand_ins


def test_stand_ins_of_several_runs_are_listed_once_each() -> None:
    """A comparison joins the texts of its runs by semicolons."""
    of_runs = "digits for mnist, small for lenet, eps 0.1 for eps 0.3; digits2 for mnist2, small for lenet"
    rows = pd.DataFrame({"stand_in": [of_runs, "digits for mnist, small for lenet", "", "a for b"], "n": [1, 1, 1, 0]})
    assert stand_ins(rows, names={}) == [
        "digits for mnist",
        "small for lenet",
        "eps 0.1 for eps 0.3",
        "digits2 for mnist2",
    ]
