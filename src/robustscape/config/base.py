"""The reading of YAML files: strict, with errors that are sentences.

An error names the file, the key, what it got and what is allowed; nothing runs before every file has been read.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from robustscape.errors import ConfigError
from robustscape.numbers import refuse_truth_values


class Strict(BaseModel):
    """A model that refuses keys it does not know and cannot be changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, data: Any) -> Any:
        return refuse_truth_values({name: field.annotation for name, field in cls.model_fields.items()}, data)


class FromCatalog(Strict):
    """A model that names a catalogue function and has its keyword arguments under `parameters`, checked and completed."""

    catalogue: ClassVar[tuple[str, str]]
    """Kind of the function, and the key under which its name stands."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        kind, key = cls.catalogue
        if isinstance(data, dict) and isinstance(data.get(key), str):
            return {**data, "parameters": catalog_parameters(kind, data[key], data.get("parameters") or {})}
        return data


#: Words that other libraries use -> what may be meant here; the first that is allowed is suggested.
SYNONYMS = {
    "alpha": ("step_size",),
    "eps_step": ("step_size",),
    "iterations": ("steps", "queries"),
    "max_iter": ("steps", "iterations", "queries"),
    "n_iter": ("iterations", "steps"),
    "n_queries": ("queries",),
    "n_restarts": ("restarts",),
    "num_random_init": ("restarts",),
    "random_init": ("random_start",),
    "steps": ("iterations", "queries"),
}

#: Problems of a file that one error names.
SHOWN = 3

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.CSafeLoader):
    """Safe YAML that reads plain words as YAML 1.2 does and accepts no key twice.

    YAML 1.1, which PyYAML implements, reads ``1e-3`` as text, ``on`` and ``no`` as booleans, ``010`` as 8, ``1:30`` as 90 and
    ``2020-10-28`` as a date. Here they are 0.001, text, an error, text and text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"a key must be a word or a number (line {line})", None
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is written twice (line {line})", None)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_octal(self, node: yaml.ScalarNode) -> None:
        """Refuse an integer with leading zeros."""
        line, decimal = node.start_mark.line + 1, re.sub(r"^([-+]?)0+(?=\d)", r"\1", node.value)
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"'{node.value}' (line {line}) is octal to some readers; write {decimal}, or '{node.value}' in quotes",
        )


#: Tag -> what a plain word of that kind looks like, and the letters it may begin with.
_PLAIN = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "!octal": (r"[-+]?0[0-9]+", "-+0"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:merge": (r"<<", "<"),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_form, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_form})$"), list(_first))
_Loader.add_constructor("!octal", _Loader.construct_octal)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, a key written twice, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a CSafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(content).__name__}.")
    return content


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that holds the last key of ``location``; empty if that cannot be told."""
    current: Any = model
    for key in location[:-1]:
        field = getattr(current, "model_fields", {}).get(key)
        if field is None:
            continue  # an index, a name in a mapping, or a union's tag
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        candidates += [inner for c in candidates for inner in getattr(c, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        current = nested[0] if nested else current
    return sorted(getattr(current, "model_fields", {}))


def _expected(problem: str, got: Any) -> str:
    """What a value of a wrong form should have been, in words of YAML; empty where pydantic's own words do."""
    if problem in ("list_type", "tuple_type", "set_type", "frozen_set_type"):
        return "a list" if got is None or isinstance(got, (dict, BaseModel)) else f"a list, such as [{got}]"
    if problem in ("dict_type", "mapping_type", "model_type", "model_attributes_type"):
        return "keys with values"
    return {"bool_type": "true or false", "string_type": "text"}.get(problem, "")


def error_sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error as sentences: key, what it got, what is allowed."""
    lines = []
    details = error.errors()
    for detail in details[:SHOWN]:
        location = detail["loc"]
        key = ".".join(str(part) for part in location) or "(top level)"
        got = detail.get("input")
        if detail["type"] == "extra_forbidden":
            allowed = _fields(model, location)
            close = [key for key in SYNONYMS.get(str(location[-1]), ()) if key in allowed]
            close = close or difflib.get_close_matches(str(location[-1]), allowed, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            lines.append(f"unknown key '{key}'.{hint} Allowed: {', '.join(allowed)}.")
        elif detail["type"] == "missing":
            lines.append(f"key '{key}' is missing.")
        else:
            message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            prefix = "allowed is " if detail["msg"].startswith("Input should be ") else ""
            message = _expected(detail["type"], got) or message
            if not location and isinstance(got, (dict, BaseModel)):  # the sentence is about the whole
                lines.append(f"{message.rstrip('.')}.")
                continue
            found = "" if isinstance(got, (dict, BaseModel)) else f" got {reprlib.repr(got)}"
            lines.append(f"key '{key}'{found}: {prefix}{message.rstrip('.')}.")
    if len(details) > SHOWN:
        lines.append(f"({len(details) - SHOWN} more problems in this file.)")
    return " ".join(lines)


def validate_model(model: type[Model], content: Any, where: str) -> Model:
    """``content`` as a ``model``; ``where`` (a file, or file and key) begins the sentence if it is not one."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        sentence = error_sentence(error, model)
        own = sentence.startswith(f"parameters of {where}:")  # it says itself where
        raise ConfigError(sentence if own else f"{where}: {sentence}") from None


def read_model(model: type[Model], path: Path) -> Model:
    """Return a YAML file as a ``model``."""
    return validate_model(model, read_yaml(path), str(path))


_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def check_name(name: Any, where: str) -> str:
    """A name that can be a folder, a rule and a word of a command line.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: the name {name!r} is not allowed; use small letters, digits, '_', '-' and '.'.")
    return name


def read_mapping(model: type[Model], path: Path) -> dict[str, Model]:
    """A YAML file of named entries, each a ``model``."""
    entries = read_yaml(path).items()
    return {
        check_name(name, str(path)): validate_model(model, content, f"{path}: '{name}'") for name, content in entries
    }


def catalog_parameters(kind: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """``parameters`` checked against the signature of ``name``, defaults filled in, numbers like 8/255 read.

    For use in validators: raises ValueError with a sentence.
    """
    from robustscape import catalog

    try:
        model = catalog.find_entry(kind, name).parameters
        return model.model_validate(parameters).model_dump()
    except ValidationError as error:
        raise ValueError(f"parameters of {kind} '{name}': {error_sentence(error, model)}") from None
    except ConfigError as error:
        raise ValueError(str(error)) from None
