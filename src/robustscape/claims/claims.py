"""Claims of the works as expressions over an item's numbers, and their verdicts.

A claim is one expression that is true when it holds::

    spearman(series('sharpness', noise='PGD', norm='L2')) >= 0.9

It is evaluated by simpleeval over the functions in ``FUNCTIONS``; there are no attributes, no assignments, and no
other names, so a study file cannot run code. The numbers come from the item's CSV: means over seeds. What the
expression read and worked out becomes the evidence.

An expression may use numbers (8/255), text, lists, ``+ - * / **``, comparisons, ``and or not``, ``a if b else c`` and
``[f(e) for e in [...]]``. Arithmetic and comparisons of two series go level by level.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpleeval

from robustscape.claims import series as language
from robustscape.claims.series import NotTestable, Series, listed, same, text
from robustscape.errors import ConfigError, unknown
from robustscape.report.words import FAILS, HOLDS, UNTESTABLE, is_number, levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from robustscape.config.studies import Claim, Study

COLUMNS = ("work", "item", "claim", "says", "verdict", "evidence")


# -- reading an item's numbers ----------------------------------------------------------------------------------------


@dataclass
class Reader:
    """The functions that read numbers, over one item's CSV, and what they read."""

    rows: pd.DataFrame
    factors: Sequence[str]
    evidence: list[str] = field(default_factory=list)
    stand_ins: set[str] = field(default_factory=set)
    finite: bool = True

    def value(self, metric: str, **factors: Any) -> float:
        """Our mean of ``metric`` at the given levels of the factors."""
        row = self._only(self._select(metric, factors), metric, factors)
        number = self._measured(row)
        self._note(f"{_place(metric, factors)} = {text(number)}")
        return number

    def printed(self, metric: str, **factors: Any) -> float:
        """The number the paper printed at the given levels of the factors."""
        found = self._select(metric, factors).dropna(subset=["paper_value"])
        number = float(self._only(found, metric, factors, "a printed number")["paper_value"])
        self._note(f"paper's {_place(metric, factors)} = {text(number)}")
        return number

    def series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """Our means of ``metric`` along a factor, in its order; every other factor that varies must be given."""
        return self._series(metric, along, factors, "n", lambda row: self._measured(row), "")

    def printed_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """The paper's numbers of ``metric`` along a factor."""
        return self._series(metric, along, factors, "paper_value", lambda row: float(row["paper_value"]), "paper's ")

    def _series(
        self, metric: str, along: str, factors: dict[str, Any], needs: str, read: Callable[[Any], float], whose: str
    ) -> Series:
        self._column(along)
        found = self._select(metric, factors)
        found = found[(found["n"] > 0) if needs == "n" else found[needs].notna()]
        found = found[found[along].notna()]
        if found.empty:
            raise NotTestable(f"there is no {whose or 'value of '}{_place(metric, factors)}")
        known = list(dict.fromkeys(found[along]))
        if all(is_number(level) for level in known):
            known = sorted(known)
        rows = [self._only(found[found[along] == level], metric, {**factors, along: level}) for level in known]
        series = Series(tuple(known), tuple(read(row) for row in rows))
        self._note(f"{whose}{_place(metric, factors)} at {_name(along)} {listed(known)}: {text(series.values)}")
        return series

    def _column(self, factor: str) -> None:
        if factor not in self.factors:
            raise unknown("factor", factor, [str(f) for f in self.factors])

    def _select(self, metric: str, factors: dict[str, Any]) -> pd.DataFrame:
        found = self.rows[self.rows["metric"] == metric]
        if found.empty:
            raise NotTestable(f"there is no row with metric '{metric}'")
        for factor, wanted in factors.items():
            self._column(factor)
            found = found[[same(level, wanted) for level in found[factor]]]
        return found

    def _only(self, found: pd.DataFrame, metric: str, factors: dict[str, Any], what: str = "a value") -> Any:
        if found.empty:
            raise NotTestable(f"there is no {what.removeprefix('a ')} of {_place(metric, factors)}")
        if len(found) > 1:
            differ = [f for f in self.factors if f not in factors and found[f].nunique(dropna=False) > 1]
            place, why = _place(metric, factors), f"they differ in {', '.join(differ)}"
            raise ConfigError(f"{place} is {len(found)} values; {why}. Say which is meant.")
        return found.iloc[0]

    def _measured(self, row: Any) -> float:
        if not row["n"] > 0:
            raise NotTestable(f"the paper has {row['metric']} here, but nothing was measured")
        if row["stand_in"]:
            self.stand_ins.add(str(row["stand_in"]))
        number = float(row["value"])
        self.finite &= math.isfinite(number)
        return number

    def _note(self, text: str) -> None:
        if text not in self.evidence:
            self.evidence.append(text)


_READERS = ("value", "printed", "series", "printed_series")

#: Every function of the language with its documentation; docs/claims.md lists them.
FUNCTIONS: dict[str, Callable[..., Any]] = {**{name: getattr(Reader, name) for name in _READERS}, **language.FUNCTIONS}


# -- checking and evaluating ------------------------------------------------------------------------------------------

_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword, ast.Compare, ast.BoolOp,
    ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.IfExp, ast.List, ast.Tuple, ast.ListComp,
    ast.comprehension, ast.Subscript,
)  # fmt: skip


def check(expression: str, metrics: Collection[str] | None = None, factors: Collection[str] | None = None) -> None:
    """Refuse an expression that could not be evaluated, without any data.

    Args:
        expression: a claim's ``holds``.
        metrics: the item's metrics, if names are to be checked too.
        factors: the item's factors, likewise.

    Raises:
        ConfigError: it is not one expression of the language, or a function, argument, metric or factor is unknown.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise ConfigError(f"'{expression}' is not an expression: {error.msg}.") from None
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ConfigError(f"'{expression}' uses {type(node).__name__}, which claims may not.")
        if isinstance(node, ast.Call):
            _check_call(node, metrics, factors)
        elif isinstance(node, ast.Name) and id(node) not in called and node.id not in bound:
            raise unknown("name", node.id, sorted(bound))
        elif isinstance(node, ast.Compare) and len(node.ops) > 1:
            raise ConfigError(f"'{expression}' chains comparisons; write 'a < b and b < c'.")


def check_claims(study: Study, where: str) -> None:
    """Refuse a study with a claim that could not be evaluated; ``where`` begins the sentence.

    Raises:
        ConfigError: as ``check``.
    """
    for name, item in study.items.items():
        for claim in item.claims:
            try:
                check(claim.holds, item.metrics or None, item.factors)
            except ConfigError as error:
                raise ConfigError(f"{where}: item '{name}': claim '{claim.id}': {error}") from None


def _check_call(node: ast.Call, metrics: Collection[str] | None, factors: Collection[str] | None) -> None:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        raise unknown("function", ast.unparse(node.func), FUNCTIONS)
    name = node.func.id
    if any(keyword.arg is None for keyword in node.keywords):
        raise ConfigError(f"{name}: '**' is not allowed.")
    keywords = {str(keyword.arg): keyword.value for keyword in node.keywords}
    arguments: list[Any] = [*([None] if name in _READERS else []), *node.args]
    try:
        bound = inspect.signature(FUNCTIONS[name]).bind(*arguments, **keywords)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; it is {name}{_signature(name)}.") from None
    if name not in _READERS:
        return
    metric, along = bound.arguments["metric"], bound.arguments.get("along")
    if metrics is not None and isinstance(metric, ast.Constant) and metric.value not in metrics:
        raise unknown("metric", str(metric.value), metrics)
    named = [*bound.arguments.get("factors", {}), *([along.value] if isinstance(along, ast.Constant) else [])]
    for factor in named:
        if factors is not None and factor not in factors:
            raise unknown("factor", str(factor), factors)


def _signature(name: str) -> str:
    signature = inspect.signature(FUNCTIONS[name])
    parameters = [
        p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values() if p.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def evaluate(expression: str, rows: pd.DataFrame, factors: Sequence[str]) -> tuple[str, str]:
    """Verdict and evidence of a claim over an item's rows (``items.read``).

    A value that is NaN or infinite makes a claim fail: the run it comes from diverged.

    Raises:
        ConfigError: the expression is wrong, whatever the numbers.
    """
    check(expression, factors=factors)
    reader = Reader(rows, factors)
    functions = {**{name: getattr(reader, name) for name in _READERS}, **_traced(reader)}
    evaluator = simpleeval.EvalWithCompoundTypes(functions=functions, names={})
    try:
        result = evaluator.eval(expression.strip())
        if isinstance(result, Series):
            bool(result)
    except NotTestable as missing:
        return UNTESTABLE, "; ".join([f"{missing}", *reader.evidence]) + "."
    except ZeroDivisionError:
        return UNTESTABLE, "; ".join(["a division by zero", *reader.evidence]) + "."
    except (simpleeval.InvalidExpression, TypeError, ValueError) as error:
        raise ConfigError(f"'{expression}': {error}") from None
    if not isinstance(result, bool):
        raise ConfigError(f"'{expression}' is {text(result)}, neither true nor false; compare it with something.")
    evidence = "; ".join(reader.evidence) + "."
    if reader.stand_ins:
        evidence += f" Stand-in: {', '.join(sorted(reader.stand_ins))}."
    if not reader.finite:
        return FAILS, f"a value is not finite (diverged run): {evidence}"
    return (HOLDS if result else FAILS), evidence


def _traced(reader: Reader) -> dict[str, Callable[..., Any]]:
    """The functions over series; a single number or truth that they work out is evidence."""

    def traced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            if not isinstance(result, Series):
                reader._note(f"{name} = {text(result)}")
            elif name in ("ratio", "absolute"):
                reader._note(f"{name} = {text(result.values)}")
            return result

        return call

    return {name: traced(name, function) for name, function in language.FUNCTIONS.items()}


def _name(factor: str) -> str:
    return levels([factor])[factor]


def _place(metric: str, factors: dict[str, Any]) -> str:
    said = ", ".join(f"{_name(f)} = {levels([v])[v]}" if is_number(v) else levels([v])[v] for f, v in factors.items())
    return f"{_name(metric)} ({said})" if said else _name(metric)


# -- all claims -------------------------------------------------------------------------------------------------------


def verdict(claim: Claim, rows: pd.DataFrame, factors: Sequence[str], scale: str) -> tuple[str, str]:
    """Verdict and evidence of a claim at a scale."""
    if scale not in claim.scales:
        return UNTESTABLE, f"It can be tested at: {', '.join(claim.scales)}."
    return evaluate(claim.holds, rows, factors)


def verdicts(studies: Mapping[str, Study], root: Path, scale: str) -> list[dict[str, str]]:
    """One row a claim (``COLUMNS``), from the items' CSVs below ``root`` (``results/<scale>``).

    Raises:
        ConfigError: a claim's expression is wrong; the message names work, item and claim.
    """
    from robustscape.report.items import read

    found = []
    for work, study in studies.items():
        for name, item in study.items.items():
            if not item.claims:
                continue
            csv = root / work / f"{name}.csv"
            rows = read(csv) if csv.exists() else None
            for claim in item.claims:
                try:
                    said = (
                        verdict(claim, rows, item.factors, scale)
                        if rows is not None
                        else (UNTESTABLE, "The item was not made.")
                    )
                except ConfigError as error:
                    raise ConfigError(f"{work}/{name}: claim '{claim.id}': {error}") from None
                found.append(dict(zip(COLUMNS, (work, name, claim.id, claim.says, *said), strict=True)))
    return found


def documentation() -> str:
    """The functions as a Markdown list, for docs/claims.md and ``robustscape list claims``."""
    lines = []
    for name, function in FUNCTIONS.items():
        text = " ".join((inspect.getdoc(function) or "").split()).replace("``", "`")
        lines.append(f"- `{name}{_signature(name)}`: {text}")
    return "\n".join(lines) + "\n"
