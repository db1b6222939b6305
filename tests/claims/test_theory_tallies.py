"""How many comparisons of a theory check hold: what claims about theorems read."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from robustscape.claims.checks import tally


def counts(**holds: list[bool]) -> dict[tuple[str, str], float]:
    rows = [{"check": check, "holds": value, "value": 1.0} for check, values in holds.items() for value in values]
    found = tally(pd.DataFrame(rows))
    assert set(found["unit"]) == {"1"}
    return {(row["check"], row["metric"]): row["value"] for row in found.to_dict("records")}


def test_numbers_that_do_not_hold_do_not_count_as_holding() -> None:
    assert counts(first=[True, False, True, False, False], second=[True], third=[False]) == {
        ("first", "numbers_checked"): 5,
        ("first", "numbers_holding"): 2,
        ("second", "numbers_checked"): 1,
        ("second", "numbers_holding"): 1,
        ("third", "numbers_checked"): 1,
        ("third", "numbers_holding"): 0,
    }


@pytest.mark.parametrize("written", [["True", "False"], [1, 0]])
def test_the_same_from_a_file(written: list[object]) -> None:
    """The column as a CSV gives it back."""
    text = "check,holds\n" + "".join(f"a,{value}\n" for value in written)
    found = tally(pd.read_csv(io.StringIO(text)))
    assert found["value"].tolist() == [2.0, 1.0]
