"""Verdicts of claims, with the numbers they rest on: the rows of ``results/<scale>/claims.csv``.

A claim's text (``says``) is printed in two places: in that file, by ``claim_rows``, and on the report's page, by
``report/templates/page.html.jinja``.
"""

from __future__ import annotations

import ast
import contextlib
import operator
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import simpleeval

from robustscape.claims.expressions import check_expression, expand_claim
from robustscape.claims.power import LEAST_POWER, power_of_claim
from robustscape.claims.reading import READERS, Reader
from robustscape.claims.series import SERIES_FUNCTIONS, NotTestable, Series, format_value
from robustscape.errors import ConfigError
from robustscape.report.words import FAILS, HOLDS, NAMES, NOT_MADE, TOO_NOISY, UNDER_TRAINED, UNTESTABLE

if TYPE_CHECKING:
    import pandas as pd

    from robustscape.config.studies import Claim, Study

#: Nets that are not trained which the evidence of a claim names.
SHOWN_NETS = 4

#: What is evaluated level by level, not by the operators of simpleeval, which take a series for a list to be repeated.
_LEVEL_BY_LEVEL = {ast.Mult: operator.mul, ast.Pow: operator.pow}

#: Columns of claims.csv.
CLAIM_COLUMNS = ("work", "item", "claim", "kind", "says", "verdict", "evidence")


def claim_rows(
    studies: Mapping[str, Study],
    root: Path,
    scale: str,
    fixed: Callable[[str, str, str, Any], bool] = lambda work, item, factor, level: False,
    old: Container[tuple[str, str]] = (),
) -> list[dict[str, str]]:
    """One row per claim (``CLAIM_COLUMNS``), from the items' CSVs below ``root`` (``results/<scale>``).

    ``fixed`` says of (work, item, factor, level) whether the level does not depend on the scale (``Plan.level_is_fixed``);
    ``old`` holds the (work, item) that count as not made.

    Raises:
        ConfigError: a claim's expression is wrong; the message names work, item and claim.
        CorruptFile: an item's CSV was edited or damaged.
    """
    from robustscape.report.items import read_recorded_rows

    found = []
    for work, study in studies.items():
        for name, item in study.items.items():
            csv = root / work / f"{name}.csv"
            is_made = csv.exists() and (work, name) not in old
            rows = read_recorded_rows(csv) if item.claims and is_made else None
            for claim in item.claims:
                try:
                    verdict, evidence = claim_verdict(
                        claim, rows, item.factors, scale, item.names, partial(fixed, work, name)
                    )
                except ConfigError as error:
                    raise ConfigError(f"{work}/{name}: claim '{claim.id}': {error}") from None
                values = (work, name, claim.id, claim.kind, claim.says, verdict, evidence)
                found.append(dict(zip(CLAIM_COLUMNS, values, strict=True)))
    return found


def claim_verdict(
    claim: Claim,
    rows: pd.DataFrame | None,
    factors: Sequence[str],
    scale: str,
    names: Mapping[str, str] = NAMES,
    fixed: Callable[[str, Any], bool] = lambda factor, level: False,
) -> tuple[str, str]:
    """Verdict and evidence of a claim at a scale.

    Args:
        claim: the claim.
        rows: the item's CSV; None if the item was not made.
        factors: the columns that identify a number.
        scale: name of the scale that the rows are of.
        names: the words in which the evidence speaks of metrics and levels (``Item.names``).
        fixed: whether a level of a factor does not depend on the scale, so that one that is not there is a mistake.
    """
    if scale not in claim.scales:
        return UNTESTABLE, f"It can be tested at: {', '.join(claim.scales)}."
    if rows is None:
        return NOT_MADE, "The item was not made."
    needs_trained_nets = claim.kind == "empirical" and not claim.dead_nets
    return evaluate_expression(
        expand_claim(claim), rows, factors, names, needs_trained_nets=needs_trained_nets, fixed=fixed
    )


def evaluate_expression(
    expression: str,
    rows: pd.DataFrame,
    factors: Sequence[str],
    names: Mapping[str, str] = NAMES,
    *,
    needs_trained_nets: bool = True,
    fixed: Callable[[str, Any], bool] = lambda factor, level: False,
) -> tuple[str, str]:
    """Verdict and evidence of an expression, ``given`` and ``let`` written out, over an item's rows.

    It is evaluated by simpleeval: no attributes, no assignments, no names but the functions of the language. A value that
    is NaN or infinite makes the claim fail, as the run it comes from diverged, and so does one that was measured before the run
    diverged (``flag_diverged``). Where trained nets are needed, numbers of nets that are not (``flag_under_trained``) make it
    untestable, whatever it says, and so do errors that would hide what the work found (``claims.power``).

    Raises:
        ConfigError: the expression is wrong, whatever the numbers; or it names a metric, or a level that is ``fixed``, which
            neither our rows nor the printed ones have.
    """
    check_expression(expression, factors=factors)
    reader = Reader(rows, factors, fixed, names)
    try:
        result = _evaluate(expression, reader)
        if isinstance(result, Series):
            bool(result)
    except NotTestable as missing:
        return UNTESTABLE, "; ".join([f"{missing}", *reader.evidence]) + "."
    except ZeroDivisionError:
        return UNTESTABLE, "; ".join(["a division by zero", *reader.evidence]) + "."
    except (simpleeval.InvalidExpression, TypeError, ValueError) as error:
        raise ConfigError(f"'{expression}': {error}") from None
    if not isinstance(result, bool):
        raise ConfigError(
            f"'{expression}' is {format_value(result)}, neither true nor false; compare it with something."
        )
    evidence = "; ".join(reader.evidence) + "."
    if reader.stand_ins:
        evidence += f" Stand-in: {', '.join(sorted(reader.stand_ins))}."
    if needs_trained_nets and reader.under_trained:
        return UNDER_TRAINED, f"{_list_nets(list(reader.under_trained))}. {evidence}"
    if not reader.finite:
        return FAILS, f"a value is not finite (diverged run): {evidence}"
    if reader.diverged:
        return FAILS, f"a value is of a run that diverged: {evidence}"
    if needs_trained_nets and (share := _power(expression, reader)) is not None and share < LEAST_POWER:
        errors = (
            f"with the printed numbers and the errors of these runs and images it would hold {share:.0%} of the time"
        )
        return TOO_NOISY, f"{errors}, less than {LEAST_POWER:.0%}. {evidence}"
    return (HOLDS if result else FAILS), evidence


def _evaluate(expression: str, reader: Reader, more: Mapping[str, Callable[..., Any]] = MappingProxyType({})) -> Any:
    """What an expression gives with the numbers of ``reader``; ``more`` are functions beside those of the language."""
    functions = {**{name: getattr(reader, name) for name in READERS}, **_recorded_functions(reader), **more}
    evaluator = simpleeval.EvalWithCompoundTypes(operators=_operators(), functions=functions, names={})
    return evaluator.eval(expression.strip())


def _power(expression: str, reader: Reader) -> float | None:
    """``power_of_claim`` of an expression that ``reader`` has read the numbers of.

    With other numbers it may come to parts that it did not reach with ours (``and`` stops at the first false one), so that the
    numbers of all parts are read first.
    """
    everything = replace(reader, evidence=[], read={}, under_trained={}, stand_ins=set())
    with contextlib.suppress(NotTestable, ZeroDivisionError):
        _evaluate(ast.unparse(_Eager().visit(ast.parse(expression.strip(), mode="eval"))), everything, _EAGER)
    rows = {**reader.read, **everything.read}

    def holds(numbers: Mapping[Hashable, float]) -> bool:
        try:
            return bool(_evaluate(expression, replace(reader, evidence=[], read={}, replaced=numbers)))
        except (NotTestable, ZeroDivisionError):
            return False

    return power_of_claim(holds, rows, replace(reader, read=rows).standard_errors())


#: The functions that ``_Eager`` puts in.
_EAGER: dict[str, Callable[..., Any]] = {
    "every_part": lambda parts: all(map(bool, parts)),
    "some_part": lambda parts: any(map(bool, parts)),
    "chosen_part": lambda condition, first, second: first if condition else second,
}


class _Eager(ast.NodeTransformer):
    """Replace what may leave a part of an expression unread by functions whose arguments are all read."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:  # the name that ast looks for
        """``a and b`` becomes ``every_part([a, b])``."""
        self.generic_visit(node)
        name = "every_part" if isinstance(node.op, ast.And) else "some_part"
        return ast.Call(ast.Name(name, ast.Load()), [ast.List(node.values, ast.Load())], [])

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:  # the name that ast looks for
        """``a if c else b`` becomes ``chosen_part(c, a, b)``."""
        self.generic_visit(node)
        return ast.Call(ast.Name("chosen_part", ast.Load()), [node.test, node.body, node.orelse], [])


def _operators() -> dict[type[ast.AST], Callable[..., Any]]:
    """The operators of simpleeval, which refuse what takes too long, with those of series."""

    def for_series(of_series: Callable[..., Any], of_numbers: Callable[..., Any]) -> Callable[..., Any]:
        return lambda a, b: (of_series if isinstance(a, Series) or isinstance(b, Series) else of_numbers)(a, b)

    known = simpleeval.DEFAULT_OPERATORS
    return {**known, **{kind: for_series(operate, known[kind]) for kind, operate in _LEVEL_BY_LEVEL.items()}}


def _list_nets(nets: Sequence[str]) -> str:
    """The first few nets that are not trained, each with what it lacks."""
    more = f"; and {len(nets) - SHOWN_NETS} more" if len(nets) > SHOWN_NETS else ""
    return f"Under-trained: {'; '.join(net.strip() for net in nets[:SHOWN_NETS])}{more}"


def _recorded_functions(reader: Reader) -> dict[str, Callable[..., Any]]:
    """The functions over series; a single number or truth value that one returns is added to the reader's evidence."""

    def recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            if not isinstance(result, Series):
                reader.add_evidence(f"{name} = {format_value(result)}")
            elif name in ("ratio", "absolute", "combined_error"):
                reader.add_evidence(f"{name} = {format_value(result.values)}")
            return result

        return call

    return {name: recorded(name, function) for name, function in SERIES_FUNCTIONS.items()}
