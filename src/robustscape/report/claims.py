"""Claims of the works as expressions over an item's numbers, and their verdicts.

A claim is one expression that is true when it holds::

    spearman(series('sharpness', noise='PGD', norm='L2')) >= 0.9

It is evaluated by simpleeval over the functions below (``FUNCTIONS``); there are no attributes, no assignments, and no
other names, so a study file cannot run code. The numbers come from the item's CSV: means over seeds. What the expression
read and worked out becomes the evidence.

An expression may use numbers (8/255), text, lists, ``+ - * / **``, comparisons, ``and or not``, ``a if b else c`` and
``[f(e) for e in [...]]``. Arithmetic and comparisons of two series go level by level.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpleeval

from robustscape.errors import ConfigError, unknown
from robustscape.report.words import is_number, levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from robustscape.config.studies import Claim, Study

HOLDS = "holds"
FAILS = "fails"
UNTESTABLE = "not testable at this scale"
COLUMNS = ("work", "item", "claim", "says", "verdict", "evidence")


class NotTestable(Exception):
    """The numbers a claim needs are not there."""


# -- values ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """Numbers along a factor, in its order. Not true or false by itself: see ``all_true``."""

    levels: tuple[Any, ...]
    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return iter(self.values)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.values[index]
        except IndexError:
            raise NotTestable(f"a series of {len(self)} has no element {index}") from None

    def __bool__(self) -> bool:
        raise ConfigError("a series is neither true nor false; wrap the comparison in all_true(...) or share_true(...).")

    def _with(self, other: Any, operate: Callable[[Any, Any], Any]) -> Series:
        if isinstance(other, Series):
            if len(other) != len(self) or any(not _same(a, b) for a, b in zip(self.levels, other.levels, strict=True)):
                raise NotTestable(f"two series have different levels: {_list(self.levels)} and {_list(other.levels)}")
            others: Iterable[Any] = other.values
        else:
            others = [other] * len(self)
        return Series(self.levels, tuple(operate(a, b) for a, b in zip(self.values, others, strict=True)))

    def __add__(self, other: Any) -> Series:
        return self._with(other, operator.add)

    def __sub__(self, other: Any) -> Series:
        return self._with(other, operator.sub)

    def __mul__(self, other: Any) -> Series:
        return self._with(other, operator.mul)

    def __truediv__(self, other: Any) -> Series:
        return self._with(other, _divide)

    def __radd__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b + a)

    def __rsub__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b - a)

    def __rmul__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b * a)

    def __rtruediv__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: _divide(b, a))

    def __neg__(self) -> Series:
        return Series(self.levels, tuple(-value for value in self.values))

    def __lt__(self, other: Any) -> Series:
        return self._with(other, operator.lt)

    def __le__(self, other: Any) -> Series:
        return self._with(other, operator.le)

    def __gt__(self, other: Any) -> Series:
        return self._with(other, operator.gt)

    def __ge__(self, other: Any) -> Series:
        return self._with(other, operator.ge)


def _divide(a: float, b: float) -> float:
    if b == 0:
        raise NotTestable("a division by zero")
    return a / b


def _same(a: Any, b: Any) -> bool:
    """Whether two levels are one; numbers within 1e-4, as when printed numbers are matched."""
    if is_number(a) and is_number(b):
        return abs(float(a) - float(b)) <= 1e-4 * max(abs(float(a)), abs(float(b)))
    return str(a) == str(b)


def _numbers(series: Any, least: int) -> list[float]:
    if is_number(series):
        raise ConfigError("a function over a series got a single number; give it series(...) or a list.")
    values = [float(value) for value in series]
    if len(values) < least:
        raise NotTestable(f"it needs {least} values, there are {len(values)}")
    return values


# -- functions over series --------------------------------------------------------------------------------------------------


def spearman(series: Series) -> float:
    """Spearman's rank correlation of the values with their order: 1 when they only rise, -1 when they only fall."""
    values = _numbers(series, 2)
    ranks = [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]
    if len(set(ranks)) == 1:
        return 0.0
    return statistics.correlation(ranks, [float(i) for i in range(len(ranks))])


def non_increasing(series: Series, tolerance: float = 0.0) -> bool:
    """No value is above the one before it by more than ``tolerance``."""
    values = _numbers(series, 2)
    return all(b <= a + tolerance for a, b in zip(values, values[1:], strict=False))


def non_decreasing(series: Series, tolerance: float = 0.0) -> bool:
    """No value is below the one before it by more than ``tolerance``."""
    values = _numbers(series, 2)
    return all(b >= a - tolerance for a, b in zip(values, values[1:], strict=False))


def strictly_increasing(series: Series) -> bool:
    """Every value is above the one before it."""
    values = _numbers(series, 2)
    return all(b > a for a, b in zip(values, values[1:], strict=False))


def strictly_decreasing(series: Series) -> bool:
    """Every value is below the one before it."""
    values = _numbers(series, 2)
    return all(b < a for a, b in zip(values, values[1:], strict=False))


def r2_linear(series: Series) -> float:
    """R^2 of the least-squares straight line of the values against their levels."""
    if not isinstance(series, Series):
        raise ConfigError("r2_linear needs a series, whose levels are the horizontal axis.")
    if not all(is_number(level) for level in series.levels):
        raise ConfigError("r2_linear needs a series along a factor of numbers.")
    values = _numbers(series, 3)
    if len(set(values)) == 1:
        return 1.0
    return statistics.correlation([float(level) for level in series.levels], values) ** 2


def ratio(a: Any, b: Any) -> Any:
    """``a / b``, of numbers or of series level by level."""
    return a / b if isinstance(a, Series) or isinstance(b, Series) else _divide(a, b)


def first(series: Series) -> float:
    """The value at the first (smallest) level."""
    return _numbers(series, 1)[0]


def last(series: Series) -> float:
    """The value at the last (largest) level."""
    return _numbers(series, 1)[-1]


def smallest(series: Series) -> float:
    """The least value."""
    return min(_numbers(series, 1))


def largest(series: Series) -> float:
    """The greatest value."""
    return max(_numbers(series, 1))


def mean(series: Series) -> float:
    """The mean of the values."""
    return statistics.fmean(_numbers(series, 1))


def spread(series: Series) -> float:
    """The greatest value minus the least."""
    values = _numbers(series, 1)
    return max(values) - min(values)


def absolute(value: Any) -> Any:
    """The absolute value, of a number or of each value of a series."""
    return Series(value.levels, tuple(abs(v) for v in value)) if isinstance(value, Series) else abs(value)


def beyond(series: Series, level: float) -> Series:
    """The part of a series above a level of its factor: ``beyond(s, 0)`` leaves out level 0."""
    kept = [(at, v) for at, v in zip(series.levels, series.values, strict=True) if at > level and not _same(at, level)]
    return Series(tuple(at for at, _ in kept), tuple(v for _, v in kept))


def at(series: Series, chosen: list[Any]) -> Series:
    """The part of a series at some levels of its factor, in the order given."""
    found = []
    for wanted in chosen:
        values = [v for level, v in zip(series.levels, series.values, strict=True) if _same(level, wanted)]
        if not values:
            raise NotTestable(f"the series has no level {_text(wanted)}, only {_list(series.levels)}")
        found.append(values[0])
    return Series(tuple(chosen), tuple(found))


def all_true(series: Series) -> bool:
    """Every comparison is true (false for an empty list)."""
    values = list(series)
    return bool(values) and all(bool(value) for value in values)


def any_true(series: Series) -> bool:
    """At least one comparison is true."""
    return any(bool(value) for value in series)


def share_true(series: Series) -> float:
    """The share of comparisons that are true, for claims that say "in most cases"."""
    values = [bool(value) for value in series]
    if not values:
        raise NotTestable("there is nothing to compare")
    return sum(values) / len(values)


_PURE: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        spearman,
        non_increasing,
        non_decreasing,
        strictly_increasing,
        strictly_decreasing,
        r2_linear,
        ratio,
        first,
        last,
        smallest,
        largest,
        mean,
        spread,
        absolute,
        beyond,
        at,
        all_true,
        any_true,
        share_true,
    )
}


# -- reading an item's numbers ------------------------------------------------------------------------------------------------


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
        self._note(f"{_place(metric, factors)} = {_text(number)}")
        return number

    def printed(self, metric: str, **factors: Any) -> float:
        """The number the paper printed at the given levels of the factors."""
        found = self._select(metric, factors).dropna(subset=["paper_value"])
        number = float(self._only(found, metric, factors, "a printed number")["paper_value"])
        self._note(f"paper's {_place(metric, factors)} = {_text(number)}")
        return number

    def series(self, metric: str, along: str = "epsilon", **factors: Any) -> Series:
        """Our means of ``metric`` along a factor, in its order; every other factor that varies must be given."""
        return self._series(metric, along, factors, "n", lambda row: self._measured(row), "")

    def printed_series(self, metric: str, along: str = "epsilon", **factors: Any) -> Series:
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
        self._note(f"{whose}{_place(metric, factors)} at {_name(along)} {_list(known)}: {_list(series.values)}")
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
            found = found[[_same(level, wanted) for level in found[factor]]]
        return found

    def _only(self, found: pd.DataFrame, metric: str, factors: dict[str, Any], what: str = "a value") -> Any:
        if found.empty:
            raise NotTestable(f"there is no {what.removeprefix('a ')} of {_place(metric, factors)}")
        if len(found) > 1:
            differ = [f for f in self.factors if f not in factors and found[f].nunique(dropna=False) > 1]
            raise ConfigError(
                f"{_place(metric, factors)} is {len(found)} values; they differ in {', '.join(differ)}. Say which is meant."
            )
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
FUNCTIONS: dict[str, Callable[..., Any]] = {**{name: getattr(Reader, name) for name in _READERS}, **_PURE}


# -- checking and evaluating --------------------------------------------------------------------------------------------------

_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword, ast.Compare, ast.BoolOp, ast.And,
    ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.IfExp, ast.List, ast.Tuple, ast.ListComp, ast.comprehension,
    ast.Subscript,
)  # fmt: skip


def check(
    expression: str, metrics: Collection[str] | None = None, factors: Collection[str] | None = None
) -> None:
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
        raise ConfigError(f"'{expression}' is {_text(result)}, neither true nor false; compare it with something.")
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
                reader._note(f"{name} = {_text(result)}")
            elif name in ("ratio", "absolute"):
                reader._note(f"{name} = {_list(result.values)}")
            return result

        return call

    return {name: traced(name, function) for name, function in _PURE.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_number(value):
        return f"{float(value):.4g}"
    return _list(value) if isinstance(value, (list, tuple, Series)) else str(value)


def _list(values: Iterable[Any]) -> str:
    values = list(values)
    if all(is_number(value) for value in values):
        texts = levels(values)
        return ", ".join(texts[v] if "/" in texts[v] else f"{float(v):.4g}" for v in values)
    return ", ".join(_text(value) for value in values)


def _name(factor: str) -> str:
    return levels([factor])[factor]


def _place(metric: str, factors: dict[str, Any]) -> str:
    said = ", ".join(
        f"{_name(f)} = {levels([v])[v]}" if is_number(v) else levels([v])[v] for f, v in factors.items()
    )
    return f"{_name(metric)} ({said})" if said else _name(metric)


# -- all claims -----------------------------------------------------------------------------------------------------------------


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
                    said = verdict(claim, rows, item.factors, scale) if rows is not None else (UNTESTABLE, "The item was not made.")
                except ConfigError as error:
                    raise ConfigError(f"{work}/{name}: claim '{claim.id}': {error}") from None
                found.append(dict(zip(COLUMNS, (work, name, claim.id, claim.says, *said), strict=True)))
    return found


def documentation() -> str:
    """The functions as a Markdown list, for docs/claims.md and ``robustscape list claims``."""
    lines = []
    for name, function in FUNCTIONS.items():
        text = " ".join((inspect.getdoc(function) or "").split())
        lines.append(f"- `{name}{_signature(name)}`: {text}")
    return "\n".join(lines) + "\n"
