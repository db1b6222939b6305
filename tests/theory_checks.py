"""Run a theory check by its catalogue name and read its rows: shared by the tests of all works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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


# Checks fall when the thing under test is wrong -----------------------------------------------------------------------


class Wrong(NamedTuple):
    """A function of a check, what replaces it, and the checks that must fall."""

    name: str
    part: str
    replacement: Any
    fallen: set[str]


def times(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """The function, ``factor`` times as large."""
    return lambda *arguments, **keywords: factor * function(*arguments, **keywords)


def wrong_names(wrongs: Sequence[Wrong]) -> list[str]:
    """Names of the tests of ``wrongs``."""
    return [f"{wrong.name}-{wrong.part}-{number}" for number, wrong in enumerate(wrongs)]


def expect_noticed(monkeypatch: pytest.MonkeyPatch, work: str, wrong: Wrong, sizes: Mapping[str, Any]) -> None:
    """The checks that must fall do, with ``sizes`` as the parameters of the check."""
    replace_in_check(monkeypatch, f"{work}/{wrong.name}", wrong.part, wrong.replacement)
    assert wrong.fallen <= failing_checks(run_check(f"{work}/{wrong.name}", **sizes))


def expect_every_check_to_fall(work: str, name: str, wrongs: Sequence[Wrong], sizes: Mapping[str, Any]) -> None:
    """Of what is right no check falls, and under one of ``wrongs`` each of them."""
    rows = run_check(f"{work}/{name}", **sizes)
    assert failing_checks(rows) == set()
    assert {row["check"] for row in rows} == {check for w in wrongs if w.name == name for check in w.fallen}
