"""Levels that claims name, checked against the configuration before anything runs. Imports no torch.

A typing error in ``value('robust_test_accuracy', method='AWT')`` would show only when the item is made, hours later. Which levels
a factor has is known beforehand where it is a run's data set, architecture or eps, what its recipe calls it (``factors``), or a
constant label of the item's rows. Nothing is said of factors whose levels a measurement, comparison or theory check makes.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape import catalog
from robustscape.claims.expressions import expand_claim
from robustscape.claims.reading import READERS
from robustscape.config.studies import Item, Measurement
from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import pretty_number
from robustscape.report.level_matching import level_key, same_level

if TYPE_CHECKING:
    from robustscape.pipeline.plan import Plan

#: Factors that every row of a measurement has from its run.
_OF_RUNS = ("dataset", "architecture", "eps")


def check_levels(plan: Plan, work: str) -> None:
    """Refuse a claim of a work that names a level which neither our rows nor the printed ones can have.

    Raises:
        ConfigError: with the item, the claim, the level and what there is.
    """
    for name, item in plan.studies[work].items.items():
        known: dict[str, list[Any] | None] = {}
        for claim in item.claims:
            for factor, level in _named_levels(ast.parse(expand_claim(claim).strip(), mode="eval")):
                if factor not in known:
                    known[factor] = _levels(plan, work, item, factor)
                levels = known[factor]
                if levels is not None and not any(same_level(level, other) for other in levels):
                    problem = unknown_name(f"level of '{factor}'", _text(level), dict.fromkeys(map(_text, levels)))
                    raise ConfigError(f"{work}/{name}: claim '{claim.id}': {problem}")


def _named_levels(tree: ast.Expression) -> Iterator[tuple[str, Any]]:
    """Yield factor and level of every argument, given as a word or a number, of the calls that read numbers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
            for word in node.keywords:
                if word.arg not in (None, "metric", "along"):
                    yield from ((str(word.arg), level) for level in _constants(word.value))


def _constants(node: ast.expr) -> Iterator[Any]:
    """Yield the constant that a node is: a word, a number or a quotient of numbers; nothing for what is worked out."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (str, int, float))
        and not isinstance(node.value, bool)
    ):
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = list(_constants(node.left)), list(_constants(node.right))
        if left and right and all(isinstance(v, (int, float)) for v in (*left, *right)) and right[0]:
            yield left[0] / right[0]


def _levels(plan: Plan, work: str, item: Item, factor: str) -> list[Any] | None:
    """Return the levels that a factor of an item can have at any scale; None if the configuration does not say."""
    study, found = plan.studies[work], _printed_levels(plan, item, factor)
    for source in item.rows:
        entry = study.sources[source.of]
        if factor in source.label:
            label = source.label[factor]
            if "{" in str(label):
                return None
            found.append(label)
            continue
        if not isinstance(entry, Measurement):
            return None
        text = catalog.find_entry("measurement", entry.measure).path.read_text(encoding="utf-8")
        if (f'"{factor}"' if factor in _OF_RUNS else factor) in text:
            return None  # the measurement may say it itself
        planned = plan.planned_runs(work, entry)
        if factor in _OF_RUNS:
            found += [getattr(one, factor) for one in planned]
            continue
        of_recipes = [plan.experiment.factors[one.run.recipe] for one in planned]
        if not all(factor in own for own in of_recipes):
            return None
        found += [own[factor] for own in of_recipes]
    return found


def _printed_levels(plan: Plan, item: Item, factor: str) -> list[Any]:
    """Return the levels of a factor in the printed numbers of an item."""
    if item.printed is None:
        return []
    path: Path = plan.experiment.paper / f"{item.printed}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [row[factor] for row in csv.DictReader(file) if row.get(factor)]


def _text(level: Any) -> str:
    """A level as text; numbers, and texts that are numbers, in one notation."""
    number = level_key(level)
    return pretty_number(number) if isinstance(number, float) else str(level)
