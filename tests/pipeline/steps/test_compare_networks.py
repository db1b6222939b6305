"""Rows of a comparison that name runs are of these networks, not of all that were compared."""

from __future__ import annotations

from robustscape.config.experiment import Run
from robustscape.pipeline.steps.compare import _networks_of

RUNS = [
    Run("digits", "flat", "at", 0.1, 0),
    Run("digits", "flat", "trades", 0.1, 0),
    Run("parts", "leaf", "at", 0.1, 0),
]


def networks(**row: object) -> str:
    return _networks_of(row, RUNS, ["a", "b", "c"])


def test_rows_of_different_runs_are_of_different_networks() -> None:
    at, trades = (networks(dataset="digits", architecture="flat", recipe=recipe) for recipe in ("at", "trades"))
    assert at != trades and at != networks(network="har"), "the last is of all"
    assert at == networks(dataset="digits", architecture="flat", recipe="at", eps=0.1, seed=0, value=1.0)


def test_rows_that_name_no_run_are_of_all() -> None:
    of_all = networks(metric="accuracy")
    assert of_all == networks(recipe="reported") == networks(dataset="digits", architecture="leaf"), "no such run"
    assert networks(recipe="at") not in (of_all, networks(recipe="trades")), "of two of the three"
