"""Run a theory check by its catalogue name and read its rows: shared by the tests of all works."""

from __future__ import annotations

from typing import Any

import pytest

from robustscape import catalog

Rows = list[dict[str, Any]]


def run_check(name: str, **parameters: Any) -> Rows:
    """The rows of a check such as ``yamada2021/lemma_1``; parameters that are not given have their defaults."""
    rows: Rows = catalog.load_function("theory", name)(**parameters)
    return rows


def failing_checks(rows: Rows) -> set[str]:
    """The ``check`` column of the rows that do not hold."""
    return {row["check"] for row in rows if not row["holds"]}


def single_value(rows: Rows, metric: str, **where: Any) -> float:
    """The value of the one row of ``metric`` whose other columns are as ``where`` says."""
    found = [r["value"] for r in rows if r["metric"] == metric and all(r.get(k) == v for k, v in where.items())]
    assert len(found) == 1, (metric, where, found)
    return float(found[0])


def replace_in_check(monkeypatch: pytest.MonkeyPatch, name: str, part: str, replacement: Any) -> None:
    """Replace the function ``part`` in the module of a check, so that the check runs on something wrong."""
    monkeypatch.setattr(f"robustscape.theory.{name.replace('/', '.')}.{part}", replacement)
