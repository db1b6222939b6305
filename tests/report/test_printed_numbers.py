"""Printed numbers beside ours: a difference counts under the work's own protocol only (contract 3)."""

from __future__ import annotations

import pandas as pd
import pytest
from made_up import accuracy_rows, make_item, printed_accuracies

from robustscape.report.items import aggregate_repetitions
from robustscape.report.printed_numbers import PrintedTable, printed_table

ITEM = make_item(factors=["dataset", "architecture", "noise", "norm", "eps"], options={"index": ["eps"]})


def made(printed: pd.DataFrame | None = None, **columns) -> PrintedTable:
    rows = aggregate_repetitions(
        accuracy_rows(**columns), ITEM.factors, printed_accuracies() if printed is None else printed
    )
    table = printed_table(rows, ITEM)
    assert table is not None
    return table


def test_a_stand_ins_gap_is_context() -> None:
    table = made()
    assert table.is_context and {row.verdict for row in table.rows} == {"context"}
    assert all(row.difference.startswith("(") for row in table.rows)


def test_under_the_works_own_protocol_it_is_judged() -> None:
    table = made(stand_in="", paper_protocol=True)
    assert not table.is_context and {row.verdict for row in table.rows} == {"within"}
    moved = printed_accuracies().assign(value=lambda rows: rows["value"] - 5)
    assert {row.verdict for row in made(moved, stand_in="", paper_protocol=True).rows} == {"beyond"}


def test_levels_that_vary_are_shown_and_the_order_is_that_of_the_csv() -> None:
    table = made()
    assert table.factors == ("ε",) and len(table.rows) == 12
    assert [row.levels for row in table.rows[:4:2]] == [("0",), ("0.2",)]
    assert table.rows[0].ours == "99.87 ± 0.03" and table.rows[0].n == 3 and table.rows[0].printed == "99.89"


def test_bars_are_shares_of_the_largest_difference_of_a_metric() -> None:
    table = made()
    for metric in {row.quantity for row in table.rows}:
        bars = [abs(row.bar) for row in table.rows if row.quantity == metric]
        assert max(bars) == pytest.approx(1.0) and min(bars) < 1.0


def test_a_printed_number_without_ours_and_a_nan_are_said() -> None:
    extra = printed_accuracies([*(0.0, 0.2), 3.0])
    table = made(extra)
    assert [(row.ours, row.n, row.difference, row.verdict) for row in table.rows if row.levels == ("3",)] == [
        ("", 0, "", "none")
    ] * 2
    rows = aggregate_repetitions(accuracy_rows().assign(value=float("nan")), ITEM.factors, printed_accuracies())
    nan = printed_table(rows, ITEM)
    assert nan is not None and {(row.ours, row.difference, row.bar) for row in nan.rows} == {("nan", "", 0.0)}


def test_an_item_without_printed_numbers_has_no_table() -> None:
    assert printed_table(aggregate_repetitions(accuracy_rows(), ITEM.factors), ITEM) is None
