"""Models by name: ``file.py:factory`` or ``package.module:factory``, called with arguments, or an object that is one already."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from robustscape.errors import ConfigError, UserError, a_type


def make_model(path: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the model that ``path`` names.

    Args:
        path: ``file.py:name`` or ``package.module:name`` of a function, a class or a module object.
        arguments: of the function.

    Raises:
        ConfigError: there is no such thing, or it takes other arguments.
        UserError: it fails, or makes no model.
    """
    source, _, name = path.rpartition(":")
    if not source or not name.isidentifier():
        raise ConfigError(f"--model got '{path}', allowed is file.py:factory or package.module:factory.")
    module = _module(source)
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, [n for n in vars(module) if not n.startswith("_")], n=1)
        raise ConfigError(
            f"--model got '{path}': '{source}' has no '{name}'.{f' Did you mean {close[0]!r}?' if close else ''}"
        )
    factory = getattr(module, name)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise ConfigError(f"--model got '{path}', which is {a_type(factory)}, not a function that returns a model.")
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        takes = f"{name}{inspect.signature(factory)}"
        raise ConfigError(
            f"--model '{path}' cannot be called with --model-args {dict(arguments)}: {error}. It is {takes}."
        ) from None
    except ValueError:
        pass  # a built-in, whose signature cannot be read
    try:
        model = factory(**arguments)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UserError(f"--model '{path}' fails: {_described(error)}.") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"--model '{path}' must return a torch.nn.Module, it returned {a_type(model)}.")
    return model


def _module(source: str) -> ModuleType:
    """The module of a file or of a dotted name; the working directory, and the file's folder, are importable."""
    try:
        if source.endswith(".py"):
            file = Path(source)
            if not file.is_file():
                raise ConfigError(f"--model got '{source}': there is no such file.")
            sys.path.insert(0, str(file.resolve().parent))
            spec = importlib.util.spec_from_file_location(f"own_model_{file.stem}", file)
            if spec is None or spec.loader is None:
                raise ConfigError(f"--model got '{source}', which cannot be imported.")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            return module
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(source)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        whose = "which" if error.name and source.startswith(error.name) else f"but it imports '{error.name}', which"
        raise ConfigError(f"--model got '{source}', {whose} cannot be imported: {error}.") from None
    except (Exception, SystemExit) as error:  # whatever the user's file does
        raise UserError(f"--model: importing '{source}' fails: {_described(error)}.") from error


def _described(error: BaseException) -> str:
    """The error with the line of the user's file that raised it."""
    line, trace = "", error.__traceback__
    while trace is not None:
        line = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}{line}"
