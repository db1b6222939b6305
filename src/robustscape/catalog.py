"""The functions that can be named in the configuration, found by looking at the package's files.

A module registers itself by defining a function of its own name: ``attacks/pgd.py`` defines ``pgd``, so ``pgd`` is an
attack; its keyword-only arguments are its parameters, their annotations and defaults the schema, its docstring the
documentation. To add a method is therefore to add one file. Theory checks are in a folder per work, which is part of their
name: ``theory/kim2023/theorem_5_1.py`` is ``kim2023/theorem_5_1``.

The same rule holds in plug-ins, folders outside the package with the same folders inside (``attacks/``, ``training/methods/``,
...): one that ``use_plugins`` names, and packages that are installed with an entry point of the group ``robustscape.plugins``.

Signatures are read from the syntax tree, not by importing, so that the configuration is validated, and Snakemake plans its jobs,
without importing torch (2 s on a small machine).
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from robustscape.errors import ConfigError, UserError, unknown_name
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

#: Group of the entry points whose packages are plug-ins.
ENTRY_POINTS = "robustscape.plugins"

#: The package as which modules of the folder that ``use_plugins`` names are imported.
PLUGINS = "robustscape_plugins"

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

    ``folder`` is the one of ``KINDS`` in which it was found, such as "evaluation/logs", in the package or in a plug-in.
    ``references`` maps the parameters that name an attack or a suite to "AttackSpec" or "Suite". ``declares_files`` says that the
    module defines a function ``raw_files`` too (see ``data.raw_files``).
    """

    kind: str
    name: str
    module: str
    path: Path
    folder: str
    summary: str
    parameters: type[BaseModel]
    references: dict[str, str]
    declares_files: bool

    def load(self) -> Callable[..., Any]:
        """Return the function; its module is imported.

        Raises:
            UserError: a plug-in cannot be imported.
        """
        return self._member(self.path.stem)

    def load_raw_files(self) -> Callable[..., Any]:
        """Return the function ``raw_files`` of the module; only where ``declares_files``."""
        return self._member("raw_files")

    def _member(self, name: str) -> Callable[..., Any]:
        try:
            module = importlib.import_module(self.module)
        except (Exception, SystemExit) as error:  # whatever the module does
            if PACKAGE in self.path.parents:
                raise  # a fault of ours
            text = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
            raise UserError(f"{self.path}: importing it fails: {text}.") from error
        function: Callable[..., Any] = getattr(module, name)
        return function


# -- plug-ins ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plugin:
    """A folder with functions of one's own: the dotted name of its package, and where it is."""

    package: str
    folder: Path


#: The folder that ``use_plugins`` named last.
_named: list[Plugin] = []


def use_plugins(folder: str | Path | None) -> None:
    """Make the functions in a folder nameable wherever those of the package are; they take the place of a folder named before.

    Args:
        folder: has ``attacks/``, ``training/methods/``, ``data/sets/``, ... inside, as the package has; files and folders whose
            names begin with ``_`` are helpers; ``config/`` may have recipes, studies, attacks, ... as a project's has. None: no
            folder.

    Raises:
        ConfigError: there is no such folder, or a file in it is where the catalogue does not look.
    """
    for name in [name for name in sys.modules if name.split(".")[0] == PLUGINS]:
        del sys.modules[name]
    _named.clear()
    catalog_entries.cache_clear()
    if folder is None:
        return
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise ConfigError(f"plugins: there is no folder '{folder}'.")
    _check_places(folder)
    package = types.ModuleType(PLUGINS, "Functions of the folder that ``use_plugins`` named.")
    package.__path__ = [str(folder)]
    sys.modules[PLUGINS] = package
    _named.append(Plugin(PLUGINS, folder))


def _check_places(folder: Path) -> None:
    """Refuse a file whose functions would never be found."""
    places = {place for folders, _ in KINDS.values() for place in folders}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part.startswith((".", "_")) for part in parts):
            continue
        where = path.parent.relative_to(folder)
        if not any(where.match(place) and len(parts) == place.count("/") + 2 for place in places):
            raise ConfigError(
                f"plugins: {path} is where the catalogue does not look; allowed folders are {', '.join(sorted(places))}, and "
                "for helpers names that begin with '_'."
            )


@functools.cache
def _installed() -> tuple[Plugin, ...]:
    """The packages of the entry points, which are found without being imported.

    Raises:
        ConfigError: an entry point names no package.
    """
    found = []
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        top, *parts = point.value.split(".")
        spec = importlib.util.find_spec(top)
        places = [Path(place).joinpath(*parts) for place in (spec and spec.submodule_search_locations) or ()]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise ConfigError(f"the entry point '{point.name}' of {ENTRY_POINTS} names no package: '{point.value}'.")
        found.append(Plugin(point.value, folder))
    return tuple(found)


def plugins() -> list[Plugin]:
    """Return all plug-ins: the folder that ``use_plugins`` named, and installed packages."""
    return [*_named, *_installed()]


def config_folders() -> tuple[Path, ...]:
    """Return the folders ``config/`` of plug-ins: more files of the kinds that a project's ``config/`` has."""
    return tuple(folder for plugin in plugins() if (folder := plugin.folder / "config").is_dir())


def plugin_packages() -> dict[str, Path]:
    """Return the top-level packages of all plug-ins, whose code counts as the package's own does, with their folders."""
    found = {}
    for plugin in plugins():
        top, *inner = plugin.package.split(".")
        found[top] = plugin.folder.parents[len(inner) - 1] if inner else plugin.folder
    return found


# -- finding -----------------------------------------------------------------------------------------------------------


class Parameters(BaseModel):
    """The base of the generated models of parameters; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, data: Any) -> Any:
        return refuse_truth_values({name: field.annotation for name, field in cls.model_fields.items()}, data)


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return the value of an expression of ``names`` and literals only."""
    return eval(compile(ast.Expression(node), "<signature>", "eval"), {"__builtins__": {}}, names)  # noqa: S307


def _parameter_model(path: Path, function: ast.FunctionDef) -> type[BaseModel]:
    """Return the model of a function's keyword-only arguments; those without a default are required.

    Raises:
        ConfigError: an annotation, or a default, cannot be read without importing the file.
    """
    fields: dict[str, Any] = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        try:
            annotation = Any if argument.annotation is None else _evaluate(argument.annotation, _TYPES)
            fields[argument.arg] = annotation, ... if default is None else _evaluate(default, {})
        except Exception as error:
            raise ConfigError(
                f"{path}: line {argument.lineno}: parameter '{argument.arg}' of '{function.name}' cannot be read ({error}); its "
                f"annotation may consist of {', '.join(_TYPES)} and literals, its default of literals."
            ) from None
    return create_model(f"{function.name}_parameters", __base__=Parameters, **fields)


def _references(function: ast.FunctionDef) -> dict[str, str]:
    return {
        argument.arg: name.id
        for argument in function.args.kwonlyargs
        for name in ast.walk(argument.annotation or ast.Constant(None))
        if isinstance(name, ast.Name) and name.id in ("AttackSpec", "Suite")
    }


def _entry(kind: str, path: Path, plugin: Plugin, folder: str) -> Entry | None:
    """Return what a file defines of a kind: a function of the file's name with the kind's arguments; None: nothing."""
    leading, name = KINDS[kind][1], path.stem
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        what = f"line {error.lineno}: this is not Python: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{path}: {what}.") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    node = functions.get(name)
    if node is None or tuple(a.arg for a in [*node.args.posonlyargs, *node.args.args])[: len(leading)] != leading:
        return None
    # A module's docstring says what the entry is; for a data set the function's says it, with its size.
    of_module, of_function = ast.get_docstring(tree), ast.get_docstring(node)
    docstring = (of_function if kind == "dataset" else of_module) or of_function or of_module or ""
    return Entry(
        kind=kind,
        name=f"{path.parent.name}/{name}" if kind == "theory" else name,
        module=".".join((plugin.package, *path.relative_to(plugin.folder).with_suffix("").parts)),
        path=path,
        folder=folder,
        summary=docstring.split("\n")[0].strip(),
        parameters=_parameter_model(path, node),
        references=_references(node),
        declares_files="raw_files" in functions,
    )


def _files(kind: str) -> Iterator[tuple[Path, Plugin, str]]:
    """Yield the files in which functions of a kind may be, the package's own first."""
    for plugin in (Plugin("robustscape", PACKAGE), *plugins()):
        for folder in KINDS[kind][0]:
            for path in sorted(plugin.folder.glob(f"{folder}/*.py")):
                if not path.stem.startswith((".", "_")):
                    yield path, plugin, folder


@functools.cache
def catalog_entries(kind: str) -> dict[str, Entry]:
    """Return all entries of a kind, by name.

    Raises:
        ConfigError: a plug-in has a name that is taken, or cannot be read.
    """
    found: dict[str, Entry] = {}
    for path, plugin, folder in _files(kind):
        entry = _entry(kind, path, plugin, folder)
        if entry is not None and entry.name in found:
            other = found[entry.name].path
            owner = "one of the package's own" if PACKAGE in other.parents else f"that of {other}"
            raise ConfigError(f"{path}: the {kind} '{entry.name}' exists already, {owner}; give yours another name.")
        if entry is not None:
            found[entry.name] = entry
    return found


def find_entry(kind: str, name: str) -> Entry:
    """Return the entry of a kind that is called ``name``.

    Raises:
        ConfigError: there is none; the message lists what there is, or says what the file of that name lacks.
    """
    found = catalog_entries(kind)
    if name not in found:
        refuse_empty_file(kind, name)
        raise unknown_name(kind, name, found, f"`{list_command(kind)}`")
    return found[name]


def list_command(kind: str) -> str:
    """Return the command that lists the entries of a kind."""
    return f"robustscape list {kind if kind == 'theory' else f'{kind}s'}"


def refuse_empty_file(kind: str, name: str) -> None:
    """Do nothing unless there is a file of that name that defines nothing of the kind, which explains why it is not found.

    Raises:
        ConfigError: there is one; the message says what it lacks.
    """
    for path, _, _ in _files(kind):
        if name in (path.stem, f"{path.parent.name}/{path.stem}") and name not in catalog_entries(kind):
            wanted = f" with arguments ({', '.join(KINDS[kind][1])})" if KINDS[kind][1] else ""
            raise ConfigError(f"{kind} '{name}': {path} exists, but defines no function of that name{wanted}.")


def load_function(kind: str, name: str) -> Callable[..., Any]:
    """Return the function of a kind that is called ``name``, imported.

    Raises:
        ConfigError: there is none.
    """
    return find_entry(kind, name).load()
