"""Each fault of ``faults``, once, and a handful of its fifty kills; ``make faults`` does all of them and writes the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import faults
from .faults import Outcome, Suite

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3000), pytest.mark.xdist_group("faults")]

PAGE = Path(__file__).parents[2] / "docs/explanation/reliability.md"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The small study, made once."""
    return Suite(tmp_path_factory.mktemp("faults"), seed=1)


def check(outcome: Outcome | None) -> Outcome:
    if outcome is None:
        pytest.skip("no small disk can be mounted here")
    assert outcome.identical, outcome
    assert "exit code" not in outcome.happened and "not named" not in outcome.happened, outcome
    return outcome


def test_kills(suite: Suite) -> None:
    check(suite.kills(4))


def test_a_full_disk(suite: Suite) -> None:
    assert "no half file" in check(suite.full_disk()).happened


def test_a_read_only_disk(suite: Suite) -> None:
    check(suite.read_only())


def test_a_data_file_removed(suite: Suite) -> None:
    check(suite.data_removed())


def test_two_at_once(suite: Suite) -> None:
    assert "locked" in check(suite.two_at_once()).happened


def test_nan(suite: Suite) -> None:
    assert "no weights" in check(suite.nan()).happened


@pytest.mark.parametrize("year", [1999, 2037])
def test_the_clock(suite: Suite, year: int) -> None:
    check(suite.clock(year))


def test_every_kind_of_output_truncated(suite: Suite) -> None:
    kinds = suite.kinds()
    assert {"model.safetensors", "history.csv", "run.json", "data.safetensors", "measurements/*.csv"} <= set(kinds)
    assert len(kinds) > 20
    for kind in ("model.safetensors", "run.json", "measurements/*.csv", f"{faults.WORK}/*.csv", "claims.csv"):
        check(suite.truncated(kind))


def test_the_page_has_the_table_and_every_fault_ended_well() -> None:
    text = PAGE.read_text()
    rows = re.findall(
        r"^\| (.*) \| (.*) \| (\d+) \| (.*) \|$", text.split(faults.BEGIN)[1].split(faults.END)[0], re.MULTILINE
    )
    assert len(rows) > 20 and {row[3] for row in rows} == {"yes"}
    assert any(row[1].startswith("50 of 50") for row in rows)
