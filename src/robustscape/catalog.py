"""The functions that can be named in the configuration, found by looking at the package's files.

A module registers itself by defining a function of its own name: ``attacks/pgd.py`` defines ``pgd``, so ``pgd`` is an
attack; its keyword-only arguments are its parameters, their annotations and defaults the schema, its docstring the
documentation. To add a method is therefore to add one file. Theory checks are in a folder per work, which is part of their
name: ``theory/kim2023/theorem_5_1.py`` is ``kim2023/theorem_5_1``.

Signatures are read from the syntax tree, not by importing, so that the configuration is validated, and Snakemake plans its jobs,
without importing torch (2 s on a small machine).
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import Number, OddCount, refuse_truth_values

PACKAGE = Path(__file__).parent

#: Kind -> the packages that are searched, and the first positional arguments of its functions.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dataset": (("data/sets",), ("directory",)),
    "architecture": (("models",), ("shape", "num_classes")),
    "attack": (("attacks",), ("model", "x", "y", "threat", "generator")),
    "precision": (("attacks/precision",), ("model",)),
    "method": (("training/methods",), ("model", "x", "y", "attack")),
    "optimizer": (("training/optimizers",), ("parameters",)),
    "probe": (("training/probes",), ("context",)),
    "trace": (("training/traces",), ("context",)),
    "measurement": (("evaluation", "evaluation/logs", "landscape", "training"), ("run",)),
    "comparison": (("evaluation", "evaluation/logs", "landscape"), ("runs",)),
    "theory": (("theory/*",), ()),
    "table": (("report/tables",), ("rows", "item")),
    "figure": (("report/figures",), ("rows", "item")),
}

# Names that may occur in the annotation of a parameter. ``float`` reads "8/255" too, as everywhere in the configuration.
_TYPES: dict[str, Any] = {
    "float": Number,
    "int": int,
    "OddCount": OddCount,
    "bool": bool,
    "str": str,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "Literal": Literal,
    "Annotated": Annotated,
    "Field": Field,
    "None": None,
    # Names of entries of config/attacks/ and suites.yaml; the function receives the entry itself.
    "AttackSpec": str,
    "Suite": str,
}


@dataclass(frozen=True)
class Entry:
    """A function that can be named: its place, its parameters, the first line of its documentation.

    ``references`` maps the parameters that name an attack or a suite to "AttackSpec" or "Suite".
    """

    kind: str
    name: str
    module: str
    path: Path
    summary: str
    parameters: type[BaseModel]
    references: dict[str, str]

    def load(self) -> Callable[..., Any]:
        """Return the function; its module is imported."""
        function: Callable[..., Any] = getattr(importlib.import_module(self.module), self.path.stem)
        return function


class Parameters(BaseModel):
    """The base of the generated models of parameters; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, data: Any) -> Any:
        return refuse_truth_values({name: field.annotation for name, field in cls.model_fields.items()}, data)


def _evaluate(node: ast.expr | None) -> Any:
    """Return the value of an annotation, which is made of ``_TYPES`` and literals only."""
    if node is None:
        return Any
    code = compile(ast.Expression(node), "<annotation>", "eval")
    return eval(code, {"__builtins__": {}}, _TYPES)  # noqa: S307  (the package's own source, closed namespace)


def _default(node: ast.expr | None) -> Any:
    """Return a keyword's default, a literal or such as ``2 / 255``. Without a default the key is required."""
    if node is None:
        return ...
    return eval(compile(ast.Expression(node), "<default>", "eval"), {"__builtins__": {}}, {})  # noqa: S307


def _parameter_model(name: str, function: ast.FunctionDef) -> type[BaseModel]:
    fields: dict[str, Any] = {
        argument.arg: (_evaluate(argument.annotation), _default(default))
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    }
    return create_model(f"{name}_parameters", __base__=Parameters, **fields)


def _references(function: ast.FunctionDef) -> dict[str, str]:
    return {
        argument.arg: name.id
        for argument in function.args.kwonlyargs
        for name in ast.walk(argument.annotation or ast.Constant(None))
        if isinstance(name, ast.Name) and name.id in ("AttackSpec", "Suite")
    }


def _entry(kind: str, path: Path, leading: tuple[str, ...]) -> Entry | None:
    name = path.stem
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise ConfigError(f"{path}: line {error.lineno}: this is not Python: {error.msg}.") from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            positional = tuple(a.arg for a in [*node.args.posonlyargs, *node.args.args])
            if positional[: len(leading)] != leading:
                return None
            # A module's docstring says what the entry is; for a data set the function's says it, with its size.
            of_module, of_function = ast.get_docstring(tree), ast.get_docstring(node)
            docstring = (of_function if kind == "dataset" else of_module) or of_function or of_module or ""
            module = ".".join(("robustscape", *path.relative_to(PACKAGE).with_suffix("").parts))
            summary = docstring.split("\n")[0].strip()
            name = f"{path.parent.name}/{name}" if kind == "theory" else name
            return Entry(kind, name, module, path, summary, _parameter_model(name, node), _references(node))
    return None


@functools.cache
def catalog_entries(kind: str) -> dict[str, Entry]:
    """Return all entries of a kind, by name."""
    folders, leading = KINDS[kind]
    found = (
        _entry(kind, path, leading)
        for folder in folders
        for path in sorted(PACKAGE.glob(f"{folder}/*.py"))
        if not path.stem.startswith("_")
    )
    return {entry.name: entry for entry in found if entry is not None}


def find_entry(kind: str, name: str) -> Entry:
    """Return the entry of a kind that is called ``name``.

    Raises:
        ConfigError: there is none; the message lists what there is.
    """
    found = catalog_entries(kind)
    if name not in found:
        raise unknown_name(kind, name, found)
    return found[name]


def load_function(kind: str, name: str) -> Callable[..., Any]:
    """Return the function of a kind that is called ``name``, imported.

    Raises:
        ConfigError: there is none.
    """
    return find_entry(kind, name).load()
