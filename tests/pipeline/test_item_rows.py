"""Rows of an item: which of them reproduce a number of the work."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pandas as pd
import pytest

from robustscape.pipeline.steps.item import _own_protocol


@pytest.mark.parametrize("own", [True, False])
def test_a_row_may_say_that_it_reproduces_nothing(own: bool) -> None:
    """As the accuracy that a method's authors reported does in table 5.2 of kim2023."""
    table = SimpleNamespace(paper_protocol=own)
    plain = pd.read_csv(io.StringIO("recipe,value\na,1\n"))
    assert _own_protocol(plain, table) is own  # type: ignore[arg-type]
    mixed = pd.read_csv(io.StringIO("recipe,value,paper_protocol\na,1,\nreported,2,False\n"))
    assert list(_own_protocol(mixed, table)) == [own, False]  # type: ignore[arg-type]
