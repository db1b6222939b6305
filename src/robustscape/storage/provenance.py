"""The origin of a number: versions of code, configuration, data and machine (contracts 3 and 4). Imports no torch.

A code version is a hash of syntax trees, so that comments, docstrings and layout do not count, and of everything the
package would import, so that a change three modules away does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import numbers
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustscape import __version__, catalog

PACKAGE = Path(__file__).parents[1]

#: Packages whose version may change a number.
_PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "pandas", "scikit-learn", "safetensors")

#: Modules that decide no number by themselves: what they find or validate is hashed as configuration or as the module found;
#: how a file is written, or an error is worded, changes no result. Else a new word in an error would train everything again.
#: The plan says what is made from what, which is hashed as configuration too, and records are written beside results.
_PLUMBING = {
    f"{PACKAGE.name}.{module}"
    for module in (
        "catalog",
        "config.base",
        "config.experiment",
        "errors",
        "pipeline.fingerprints",
        "pipeline.plan",
        "pipeline.stale",
        "storage.atomic",
        "storage.records",
    )
}

#: Functions that find another by its kind and name.
_LOOK_UPS = {"catalog.load_function", "catalog.find_entry", "catalog.catalog_entries"}

# Set by git within hooks; they would point its commands to another checkout.
_HOOK_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}


# -- code --------------------------------------------------------------------------------------------------------------


def code_version(*modules: str, root: Path = PACKAGE) -> str:
    """Return the SHA-256 of the code that importing ``modules`` would load from the package in the folder ``root``.

    Plug-ins are code like the package's own. Followed are import statements, inside functions too, but not those under ``if
    TYPE_CHECKING``, which never run, nor into ``_PLUMBING``. Functions that are found through the catalogue are not imported:
    name their modules as well. Each file is read once per process, so all jobs of a plan have the same code.

    Args:
        modules: dotted names, such as "robustscape.training.loop".
        root: folder of the package; its name is the package's.

    Raises:
        ModuleNotFoundError: the package has no module of that name.
    """
    return _code_version(tuple(sorted(set(modules))), _roots(root))


#: Top-level packages with their folders.
Roots = tuple[tuple[str, Path], ...]


def _roots(root: Path = PACKAGE) -> Roots:
    """Return the packages that are followed: the one in the folder ``root`` and, of ours, those of plug-ins."""
    return ((root.name, root), *(catalog.plugin_packages().items() if root == PACKAGE else ()))


@functools.cache
def _code_version(modules: tuple[str, ...], roots: Roots) -> str:
    return hashlib.sha256(json.dumps(sorted(_reached(modules, roots).items())).encode()).hexdigest()


def reached_modules(*modules: str) -> set[str]:
    """Return the modules whose code ``code_version(*modules)`` is a hash of."""
    return set(_reached(tuple(sorted(set(modules))), _roots()))


def looked_up_kinds(*modules: str) -> set[str]:
    """Return the kinds of functions that the code reached from ``modules`` finds through the catalogue, without an import."""
    paths = (_file(_roots(), module) for module in reached_modules(*modules))
    return {kind for path in paths if path is not None for kind in _kinds_in(path)}


@functools.cache
def _kinds_in(path: Path) -> frozenset[str]:
    calls = (node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call) and node.args)
    look_ups = (call.args[0] for call in calls if ast.unparse(call.func) in _LOOK_UPS)
    return frozenset(str(kind.value) for kind in look_ups if isinstance(kind, ast.Constant))


@functools.cache
def _reached(modules: tuple[str, ...], roots: Roots) -> dict[str, str]:
    """Return every module that is followed, with the hash of its syntax tree."""
    reached: dict[str, str] = {}
    waiting = list(modules)
    packages = {name for name, _ in roots}
    for name in modules:
        if not _file(roots, name):
            raise ModuleNotFoundError(f"there is no module '{name}' in {' or '.join(sorted(packages))}")
    while waiting:
        name = waiting.pop()
        if name in _PLUMBING:
            continue
        path = _file(roots, name)
        if name not in reached and path is not None:
            reached[name], imported = _read_module(path, name)
            waiting += (n for n in imported if n.split(".")[0] in packages)
        parent = name.rpartition(".")[0]
        if parent and parent not in reached:  # importing a.b runs a/__init__.py first
            waiting.append(parent)
    return reached


@functools.cache
def _file(roots: Roots, module: str) -> Path | None:
    """Return the file of a module; None for a folder without ``__init__.py`` and for names that are no modules."""
    package, *parts = module.split(".")
    root = dict(roots).get(package)
    if root is None:
        return None
    base = root.joinpath(*parts)
    candidates = (base / "__init__.py", base.parent / f"{base.name}.py")
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _read_module(path: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's syntax tree, and the names it may import."""
    tree = ast.parse(path.read_bytes(), filename=path.name)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    pieces: list[str] = []
    _spell(tree, pieces)
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest(), tuple(sorted(set(_imports(tree, package))))


def _spell(node: ast.AST, pieces: list[str]) -> None:
    """Append to ``pieces`` a text form of a tree that, unlike ``ast.dump``, is the same in every version of Python.

    Empty fields are left out (new versions add optional ones), and so are strings that stand alone, as docstrings do.
    """
    pieces.append(type(node).__name__)
    if isinstance(node, ast.Constant):
        pieces.append(f"{type(node.value).__name__} {node.value!r}")
        return
    for field in node._fields:
        value = getattr(node, field, None)
        if field == "ctx" or value is None or value == []:
            continue
        pieces.append(f".{field}")
        if isinstance(value, ast.AST):
            _spell(value, pieces)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    if not _is_idle(item, node):
                        _spell(item, pieces)
                else:
                    pieces.append(repr(item))
        else:
            pieces.append(repr(value))
    pieces.append("/")


def _is_idle(node: ast.AST, parent: ast.AST) -> bool:
    """Return True for a docstring, and for the empty text that Python 3.12 finds between two parts of an f-string."""
    if isinstance(parent, ast.JoinedStr):
        return isinstance(node, ast.Constant) and node.value == ""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """Yield dotted names that the import statements below ``node`` may load; some are names in modules, not modules."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")
            prefix = parents[: len(parents) - child.level + 1] if child.level else []
            source = ".".join([*prefix, *([child.module] if child.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []), package)
        else:
            yield from _imports(child, package)


# -- files and configuration -------------------------------------------------------------------------------------------


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(config: Any) -> str:
    """Return the SHA-256 of a configuration as canonical JSON: the order of keys does not count, tuples are lists.

    Raises:
        TypeError: something in it is neither a model, a mapping, a sequence, a path, a text nor a number.
    """
    return hashlib.sha256(json.dumps(_json_ready(config), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _json_ready(config: Any) -> Any:
    """Return a configuration as JSON-ready values; pydantic models as their fields, paths as text."""
    if hasattr(config, "model_dump"):
        return config.model_dump(mode="json")
    if isinstance(config, dict):
        return {str(key): _json_ready(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_json_ready(value) for value in config]
    if isinstance(config, Path):
        return config.as_posix()
    if config is None or isinstance(config, bool | int | float | str):
        return config
    if isinstance(config, numbers.Integral):  # of NumPy, such as a seed
        return int(config)
    raise TypeError(f"a {type(config).__name__} is not configuration: {config!r}")


# -- machine -----------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """Return what ran: versions, processor, commit, and how torch was set up. No names of machines, users or folders.

    The GPU is the one this process has used, None if none; torch's settings are None if it was not imported.
    """
    return {**_machine(), **_commit(PACKAGE), **_settings()}


@functools.cache
def _machine() -> dict[str, Any]:
    return {
        "robustscape": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """Return the processor's model, as the system spells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _settings() -> dict[str, Any]:
    """Return those settings of the process that may change numbers (contract 10)."""
    torch: Any = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return {
        "gpu": torch.cuda.get_device_name() if used else None,
        "cuda": torch.version.cuda if used else None,
        "threads": torch.get_num_threads() if torch else None,
        "deterministic": torch.are_deterministic_algorithms_enabled() if torch else None,
        "tf32": _reduced_precision() if torch else None,
    }


def _reduced_precision() -> bool:
    """Return whether fp32 is computed in fewer digits; called only where torch has been imported."""
    from robustscape import devices

    return devices.reduced_precision()


@functools.cache
def _commit(folder: Path) -> dict[str, Any]:
    """Return the commit of the checkout that the package is in, and True if anything differs from it; None without a checkout."""
    # A package installed inside somebody's checkout (in a virtual environment) is not part of it.
    if not _git(folder, "ls-files", "--", "errors.py"):
        return {"commit": None, "dirty": None}
    return {"commit": _git(folder, "rev-parse", "HEAD") or None, "dirty": bool(_git(folder, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command, empty if it fails."""
    variables = {key: value for key, value in os.environ.items() if key not in _HOOK_VARIABLES}
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=variables,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
