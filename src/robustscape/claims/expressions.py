"""A claim's expression: the functions it may call, how ``given`` and ``let`` are written out, and what is refused.

All of it needs no data, so that a study is refused while it is read, before anything runs.
"""

from __future__ import annotations

import ast
import difflib
import functools
import graphlib
import inspect
import keyword
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robustscape.claims.reading import OUR_READERS, READERS, Reader
from robustscape.claims.series import SERIES_FUNCTIONS
from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import parse_number

if TYPE_CHECKING:
    from robustscape.config.studies import Claim, Study

#: Every function of the language, by name; docs/claims.md lists them.
FUNCTIONS: dict[str, Callable[..., Any]] = {**{name: getattr(Reader, name) for name in READERS}, **SERIES_FUNCTIONS}

#: The readers that take ``along``.
_SERIES_READERS = ("series", "standard_error_series", "printed_series")

#: What ``given`` may have beside factors.
_BESIDE_FACTORS = ("metric", "along")

_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword, ast.Compare, ast.BoolOp,
    ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.IfExp, ast.List, ast.Tuple, ast.ListComp,
    ast.comprehension, ast.Subscript,
)  # fmt: skip


def parse_expression(expression: str) -> ast.Expression:
    """The syntax tree of an expression; it may go over several lines.

    Raises:
        ConfigError: it is not an expression.
    """
    try:
        return ast.parse(re.sub(r"\s*\n\s*", " ", expression.strip()), mode="eval")
    except SyntaxError as error:
        raise ConfigError(f"'{expression}' is not an expression: {error.msg}.") from None


# -- given and let, written out ------------------------------------------------------------------------------------------


def expand_claim(claim: Claim) -> str:
    """The claim's ``holds`` with the names of ``let`` replaced by what they stand for and ``given`` added to the readers.

    >>> from robustscape.config.studies import Claim
    >>> expand_claim(
    ...     Claim(
    ...         id="a", says="", given={"metric": "loss", "noise": "PGD"}, let={"top": "last(series())"}, holds="top > 1"
    ...     )
    ... )
    "last(series(metric='loss', noise='PGD')) > 1"

    Raises:
        ConfigError: an expression is not one, or ``let`` is circular.
    """
    written_out: dict[str, ast.expr] = {}
    for name in _order_of_definitions(claim):
        written_out[name] = _substitute(parse_expression(claim.let[name]), written_out).body
    tree = _substitute(parse_expression(claim.holds), written_out)
    return ast.unparse(_add_given(tree, claim.given))


def _order_of_definitions(claim: Claim) -> list[str]:
    """The names of ``let``, each after those it uses."""
    uses = {name: _names_in(parse_expression(text)) & set(claim.let) for name, text in claim.let.items()}
    try:
        return list(graphlib.TopologicalSorter(uses).static_order())
    except graphlib.CycleError as error:
        raise ConfigError(f"let: circular, {' -> '.join(reversed(error.args[1]))}.") from None


def _names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _Substitution(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)


def _substitute(tree: ast.Expression, names: Mapping[str, ast.expr]) -> ast.Expression:
    """``tree`` with each of the names replaced by its expression."""
    return ast.Expression(_Substitution(names).visit(tree.body))


def _add_given(tree: ast.Expression, given: Mapping[str, str | float]) -> ast.Expression:
    """``tree`` with the given arguments added to every call of a reader that lacks them."""
    if not given:
        return tree
    tree = ast.parse(ast.unparse(tree), mode="eval")  # a part substituted twice becomes two nodes
    for name, call in _reader_calls(tree):
        added = {key: parse_number(given[key]) for key in _missing_arguments(name, call, given)}
        call.keywords = [*(ast.keyword(key, ast.Constant(value)) for key, value in added.items()), *call.keywords]
    return tree


def _reader_calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a function that reads numbers, with the function's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
            yield node.func.id, node


def _missing_arguments(name: str, call: ast.Call, given: Collection[str]) -> list[str]:
    """The keys of ``given`` that a call takes and does not have itself; ``along`` is taken by series only."""
    positional = ("metric", "along") if name in _SERIES_READERS else ("metric",)
    present = {*positional[: len(call.args)], *(word.arg for word in call.keywords)}
    return [key for key in given if key not in present and (key != "along" or name in _SERIES_READERS)]


# -- checks --------------------------------------------------------------------------------------------------------------


def check_claims(study: Study) -> None:
    """Refuse a study with a claim that could not be evaluated.

    Raises:
        ConfigError: as ``check_claim``; the message names file, item and claim.
    """
    for name, item in study.items.items():
        for claim in item.claims:
            try:
                _check_kind(claim, all(source.of in study.theory for source in item.rows))
                check_claim(claim, item.metrics or None, item.factors)
            except ConfigError as error:
                where = f"{study.file_of('items', name)}: item '{name}': claim '{claim.id}'"
                raise ConfigError(f"{where}: {error}") from None


def _check_kind(claim: Claim, theory_alone: bool) -> None:
    """Refuse a claim about nets on an item that has none, and one about dead nets that is about no nets."""
    if claim.kind == "empirical" and theory_alone:
        raise ConfigError(
            "kind: got 'empirical', but all rows of the item are of theory checks; allowed are 'theory', 'toy' and 'software'."
        )
    if claim.dead_nets and claim.kind != "empirical":
        raise ConfigError(f"dead_nets: got true, which only an empirical claim can be; this one is '{claim.kind}'.")


def check_claim(claim: Claim, metrics: Collection[str] | None = None, factors: Collection[str] | None = None) -> None:
    """Refuse a claim that could not be evaluated, without any data.

    Args:
        claim: the claim.
        metrics: the item's metrics, if names are to be checked too.
        factors: the item's factors, likewise.

    Raises:
        ConfigError: an expression is wrong (``check_expression``), or something in ``given`` or ``let`` is unknown,
            unused, circular or badly named. The message begins with the key: ``given``, ``let: <name>`` or ``holds``.
    """
    for name in claim.let:
        _check_let_name(name)
    texts = {**{f"let: {name}": text for name, text in claim.let.items()}, "holds": claim.holds}
    trees = {}
    for key, text in texts.items():
        with _named(key):
            trees[key] = parse_expression(text)
            _check_not_rebound(trees[key], claim.let)
            _check_functions(trees[key])
    _check_given(claim.given, metrics, factors)
    for key, tree in trees.items():
        with _named(key):
            check_expression(ast.unparse(_add_given(tree, claim.given)), metrics, factors, names=claim.let)
    _check_given_is_taken(claim.given, list(trees.values()))
    _order_of_definitions(claim)
    with _named("holds"):
        _check_reads_data(parse_expression(expand_claim(claim)))
    used = {name for tree in trees.values() for name in _names_in(tree)}
    if unused := [name for name in claim.let if name not in used]:
        raise ConfigError(f"let: {', '.join(unused)} is not used.")


def _check_reads_data(tree: ast.Expression) -> None:
    """Refuse what no result can change: an expression that reads no number of ours, and a comparison of constants in it."""
    if not any(name in OUR_READERS for name, _ in _reader_calls(tree)):
        raise ConfigError(
            f"it reads no number that was measured, so it cannot fail; it must call {' or '.join(OUR_READERS)}."
        )
    for node in reversed(list(ast.walk(tree))):  # the innermost first
        if isinstance(node, ast.Compare | ast.BoolOp):
            parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else node.values
            constant = [part for part in parts if not any(isinstance(n, ast.Call | ast.Name) for n in ast.walk(part))]
            if len(constant) == len(parts) or (isinstance(node, ast.BoolOp) and constant):
                raise ConfigError(f"'{ast.unparse(node)}' has a part that no number can change.")


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Begin the sentence of a ``ConfigError`` with the key at fault."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def _check_let_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"let: '{name}' is not a name; use letters, digits and '_'.")
    if name in FUNCTIONS:
        raise ConfigError(f"let: '{name}' is a function of the language; choose another name.")


def _check_not_rebound(tree: ast.Expression, let: Collection[str]) -> None:
    """Refuse ``[... for x in ...]`` where x is a name of ``let``: one name would mean two things."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in let:
            raise ConfigError(f"'{node.id}' is a name of let; choose another for the list.")


def _check_functions(tree: ast.Expression) -> None:
    """Refuse a call of what is no function of the language: what else is wrong with the claim may follow from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _function_name(node)


def _check_given(
    given: Mapping[str, str | float], metrics: Collection[str] | None, factors: Collection[str] | None
) -> None:
    """Refuse a key or value of ``given`` that the item does not have."""
    for key, value in given.items():
        if factors is not None and key not in (*factors, *_BESIDE_FACTORS):
            if difflib.get_close_matches(key, _BESIDE_FACTORS):
                raise ConfigError(f"given: {unknown_name('key', key, [*factors, *_BESIDE_FACTORS])}")
            raise ConfigError(f"given: {_not_of_item('factor', key, factors)}")
        if key == "metric" and metrics is not None and value not in metrics:
            raise ConfigError(f"given: {_not_of_item('metric', str(value), metrics)}")
        if key == "along" and factors is not None and value not in factors:
            raise ConfigError(f"given: along: {_not_of_item('factor', str(value), factors)}")


def _check_given_is_taken(given: Collection[str], trees: Collection[ast.Expression]) -> None:
    """Refuse a key of ``given`` that no call takes; the calls are known to be of functions that there are."""
    calls = [pair for tree in trees for pair in _reader_calls(tree)]
    taken = {key for name, call in calls for key in _missing_arguments(name, call, given)}
    if unused := [key for key in given if key not in taken]:
        raise ConfigError(f"given: {', '.join(unused)} is not used.")


def _not_of_item(kind: str, got: str, of_item: Collection[str]) -> ConfigError:
    """Return the error for a metric or factor of a claim that its item does not have.

    Which of the two is misspelt cannot be told: the message names both places.
    """
    listed = ", ".join(of_item) or "none"
    close = difflib.get_close_matches(got, list(of_item), n=1)
    places = f"'{got}' in the claim or '{close[0]}' in `{kind}s` of the item" if close else ""
    hint = f" One of them may be misspelt, {places}." if close else f" Change the claim, or `{kind}s` of the item."
    return ConfigError(f"the {kind} '{got}' of the claim is not among the item's `{kind}s`: {listed}.{hint}")


def check_expression(
    expression: str,
    metrics: Collection[str] | None = None,
    factors: Collection[str] | None = None,
    names: Collection[str] = (),
) -> None:
    """Refuse an expression that could not be evaluated, without any data.

    Args:
        expression: the text, ``given`` written out.
        metrics: the item's metrics, if names are to be checked too.
        factors: the item's factors, likewise.
        names: names that are known beside the functions and the variables of lists.

    Raises:
        ConfigError: it is not one expression of the language, or a function, argument, metric or factor is unknown.
    """
    tree = parse_expression(expression)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known = bound | set(names)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ConfigError(f"'{expression}' uses {type(node).__name__}, which claims may not.")
        if isinstance(node, ast.Call):
            _check_call(node, metrics, factors)
        elif isinstance(node, ast.Name) and id(node) not in called and node.id not in known:
            raise unknown_name("name", node.id, sorted(known))
        elif isinstance(node, ast.Compare) and len(node.ops) > 1:
            raise ConfigError(f"'{expression}' chains comparisons; write 'a < b and b < c'.")


def _function_name(call: ast.Call) -> str:
    """The function of the language that a call is of.

    Raises:
        ConfigError: it is of none.
    """
    if not isinstance(call.func, ast.Name) or call.func.id not in FUNCTIONS:
        raise unknown_name("function", ast.unparse(call.func), FUNCTIONS, "docs/claims.md")
    return call.func.id


def _check_call(node: ast.Call, metrics: Collection[str] | None, factors: Collection[str] | None) -> None:
    name = _function_name(node)
    if any(word.arg is None for word in node.keywords):
        raise ConfigError(f"{name}: '**' is not allowed.")
    keywords = {str(word.arg): word.value for word in node.keywords}
    arguments: list[Any] = [*([None] if name in READERS else []), *node.args]
    try:
        bound = _signature(name).bind(*arguments, **keywords)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; it is {name}{signature_text(name)}.") from None
    if name not in READERS:
        return
    metric, along = bound.arguments["metric"], bound.arguments.get("along")
    if metrics is not None and isinstance(metric, ast.Constant) and metric.value not in metrics:
        raise _not_of_item("metric", str(metric.value), metrics)
    named = [*bound.arguments.get("factors", {}), *([along.value] if isinstance(along, ast.Constant) else [])]
    for factor in named:
        if factors is not None and factor not in factors:
            raise _not_of_item("factor", str(factor), factors)


@functools.cache
def _signature(name: str) -> inspect.Signature:
    return inspect.signature(FUNCTIONS[name])


def signature_text(name: str) -> str:
    """The parameters of a function of the language as text: ``(metric, along='eps', **factors)``."""
    signature = _signature(name)
    parameters = [
        p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values() if p.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
