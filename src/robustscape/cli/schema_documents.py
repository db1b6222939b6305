"""JSON schemas of the configuration files, for editors: completion, help and errors while typing.

``robustscape schemas`` writes them to ``workflow/schemas/``, where the first line of every file in ``config/`` looks for its
own; they are not under version control. Made from the same pydantic models that read the files. The models check against the
catalogue that ``parameters`` are the named function's; the schemas have one condition per function for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from robustscape import catalog, numbers
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import AttackSpec, SuiteSpec
from robustscape.config.datasets import DatasetEntry
from robustscape.config.main import Main
from robustscape.config.recipes import Recipe
from robustscape.config.scales import Scale
from robustscape.config.studies import Study, as_list
from robustscape.storage import atomic

#: Text that is a number: a quotient, or 1e-3, which YAML 1.1 reads as text.
NUMBER_TEXT = {"type": "string", "pattern": r"^\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?(\s*/\s*\d+(\.\d+)?)?\s*$"}


@dataclass(frozen=True)
class File:
    """A kind of configuration file.

    Args:
        name: name of its schema.
        path: pattern of the files below ``config/``.
        model: the model of a file, or of each of its entries.
        named: True if the file maps names to entries.
    """

    name: str
    path: str
    model: type[BaseModel]
    named: bool = False


FILES = (
    File("config", "config.yaml", Main),
    File("scale", "scales/*/*.yaml", Scale),
    File("study", "studies/**/*.yaml", Study),
    File("recipe", "recipes/*.yaml", Recipe),
    File("attacks", "attacks/*.yaml", AttackSpec, named=True),
    File("suites", "suites.yaml", SuiteSpec, named=True),
    File("datasets", "datasets.yaml", DatasetEntry, named=True),
    File("architectures", "architectures.yaml", ArchitectureEntry, named=True),
)

# Models that name a function of the catalogue: the key of the name, the function's kind, the key of its arguments.
_NAMING = {
    "AttackSpec": [("attack", "attack", "parameters")],
    "DatasetEntry": [("dataset", "dataset", "parameters")],
    "ArchitectureEntry": [("architecture", "architecture", "parameters")],
    "Recipe": [("method", "method", "parameters")],
    "Optimizer": [("name", "optimizer", "parameters")],
    "Probe": [("name", "probe", "parameters")],
    "Measurement": [("measure", "measurement", "parameters")],
    "Comparison": [("compare", "comparison", "parameters")],
    "Theory": [("check", "theory", "parameters")],
    "Item": [("draw", "table", "options"), ("draw", "figure", "options")],
}


_RANGES = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, knowing our numbers."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if schema["function"]["function"] in (numbers.parse_number, numbers.parse_budget):
            return {"anyOf": [inner, NUMBER_TEXT]}
        if schema["function"]["function"] is as_list:
            return {"anyOf": [inner["items"], inner]}
        return super().function_before_schema(schema)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema, numbers as the configuration writes them."""
    schema: dict[str, Any] = _spell_ranges(model.model_json_schema(schema_generator=_Generator))
    return schema


def _spell_ranges(schema: Any) -> Any:
    """Ranges of our numbers in JSON schema's words; pydantic leaves them in its own."""
    if isinstance(schema, list):
        return [_spell_ranges(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    words = _RANGES if "anyOf" in schema else {}
    return {words.get(key, key): _spell_ranges(value) for key, value in schema.items()}


#: A key of a recipe with dots, which replaces one value of what the recipe extends.
_DOTTED: dict[str, Any] = {"^[a-z_]+([.][A-Za-z0-9_]+)+$": {}}

#: Keys that only a study's first file has, and has all of.
_HEAD = ("work", "title", "reference")


def document(file: File) -> dict[str, Any]:
    """Return the JSON schema of a kind of file.

    A file may be a part of what its model asks for: recipes take over keys, studies and scales have several files.
    """
    schema = schema_of(file.model)
    definitions = schema.pop("$defs", {})
    partial = file.model is Recipe
    for name, definition in [*definitions.items(), (file.model.__name__, schema)]:
        _name_functions(definition, _NAMING.get(name, []), partial and definition is schema)
    if partial:
        schema = _recipe(schema, definitions)
    elif file.model is Study:
        del schema["required"]
        schema["dependentRequired"] = {key: [other for other in _HEAD if other != key] for key in _HEAD}
    elif file.model is Scale:
        del schema["required"]
    if file.named:
        definitions[file.model.__name__] = schema
        schema = {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{file.model.__name__}"}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"config/{file.path}"}
    body = {key: value for key, value in schema.items() if key not in head}
    return {**head, **body, **({"$defs": definitions} if definitions else {})}


def _recipe(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a recipe's file: all keys, or those that differ from another's; the same for each of its variants."""
    required = schema.pop("required")
    schema["patternProperties"] = _DOTTED
    schema["properties"]["variants"]["additionalProperties"] = {"$ref": "#/$defs/Keys"}
    definitions["Keys"] = schema
    return {"$ref": "#/$defs/Keys", "anyOf": [{"required": ["extends"]}, {"required": required}]}


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema of every kind of file to ``folder`` and return the paths."""
    paths = [folder / f"{file.name}.schema.json" for file in FILES]
    for path, file in zip(paths, FILES, strict=True):
        atomic.write_text(path, json.dumps(document(file), indent=2) + "\n")
    return paths


def _name_functions(definition: dict[str, Any], naming: list[tuple[str, str, str]], partial: bool) -> None:
    """Add the functions that may be named, and for each of them the arguments it takes."""
    conditions = [condition for entry in naming for condition in _conditions(*entry, partial)]
    if conditions:
        names = sorted({name for _, kind, _ in naming for name in catalog.catalog_entries(kind)})
        definition["properties"][naming[0][0]]["enum"] = names
        definition["allOf"] = conditions


def _conditions(key: str, kind: str, arguments: str, partial: bool) -> Iterator[dict[str, Any]]:
    for name, entry in catalog.catalog_entries(kind).items():
        parameters = schema_of(entry.parameters)
        parameters.pop("title", None)
        required = parameters.pop("required", []) if partial else parameters.get("required", [])
        when: dict[str, Any] = {key: {"const": name}}
        if key == "draw":  # tables and figures are told apart by the item's kind
            when["kind"] = {"const": kind}
        then: dict[str, Any] = {"properties": {arguments: parameters}}
        if required and not partial:
            then["required"] = [arguments]
        yield {"if": {"properties": when, "required": list(when)}, "then": then}
