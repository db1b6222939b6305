"""A few of the faults of ``benchmarks/faults.py``; ``make faults`` does all of them, fifty kills, and writes the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import small_study

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1200), pytest.mark.xdist_group("faults")]

faults = small_study.faults

PAGE = Path(__file__).parents[2] / "docs/explanation/reliability.md"


def test_a_kill_a_file_cut_in_half_and_a_net_that_is_no_number(tmp_path: Path) -> None:
    """The kinds of fault that are quickest to make; the others take minutes."""
    suite = faults.Suite(tmp_path, seed=1)
    outcomes = [suite.kills(1), suite.truncated("model.safetensors"), suite.nan()]
    assert [one.identical for one in outcomes] == [True] * 3, outcomes
    assert "no weights" in outcomes[-1].happened and "exit code" not in outcomes[-1].happened


def test_the_page_has_the_table_and_every_fault_ended_well() -> None:
    table = PAGE.read_text().split(faults.BEGIN)[1].split(faults.END)[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (\d+) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 20 and {row[3] for row in rows} == {"yes"}
    assert any(re.match(r"(\d+) of \1 went on", row[1]) for row in rows)
    assert not [row for row in rows if "exit code" in row[1] or "not named" in row[1]]
