"""JSON schemas of the configuration files, for editors: completion, help and errors while typing.

Made from the same pydantic models that read the files. What the models check against the catalogue when they run (that
``parameters`` are the named function's) the schemas say with one condition a function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from robustscape.config.studies import Part, Study

#: Text that is a number: a quotient, or 1e-3, which YAML 1.1 reads as text.
NUMBER_TEXT = {"type": "string", "pattern": r"^\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?(\s*/\s*\d+(\.\d+)?)?\s*$"}


@dataclass(frozen=True)
class File:
    """A kind of configuration file.

    Args:
        name: of its schema.
        path: where the files are, below ``config/``; a pattern.
        model: what a file holds, or each of its entries.
        named: the file maps names to ``model``s.
    """

    name: str
    path: str
    model: type[BaseModel]
    named: bool = False


FILES = (
    File("config", "config.yaml", Main),
    File("scale", "scales/*.yaml", Scale),
    File("study", "studies/*.yaml", Study),
    File("part", "studies/*/*.yaml", Part),
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
        if schema["function"]["function"] is numbers.parse:
            return {"anyOf": [self.generate_inner(schema["schema"]), NUMBER_TEXT]}
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


def document(file: File) -> dict[str, Any]:
    """The JSON schema of a kind of file."""
    schema = schema_of(file.model)
    definitions = schema.pop("$defs", {})
    partial = file.model is Recipe  # a recipe that extends another may leave out anything
    for name, definition in [*definitions.items(), (file.model.__name__, schema)]:
        _name_functions(definition, _NAMING.get(name, []), partial)
    if partial:
        required = schema.pop("required")
        schema["anyOf"] = [{"required": ["extends"]}, {"required": required}]
        for name in ("Optimizer", "Probe"):
            definitions[name].pop("required")
    if file.named:
        definitions[file.model.__name__] = schema
        schema = {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{file.model.__name__}"}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"config/{file.path}"}
    body = {key: value for key, value in schema.items() if key not in head}
    return {**head, **body, **({"$defs": definitions} if definitions else {})}


def _name_functions(definition: dict[str, Any], naming: list[tuple[str, str, str]], partial: bool) -> None:
    """Add the functions that may be named, and for each of them the arguments it takes."""
    conditions = [condition for entry in naming for condition in _conditions(*entry, partial)]
    if conditions:
        names = sorted({name for _, kind, _ in naming for name in catalog.entries(kind)})
        definition["properties"][naming[0][0]]["enum"] = names
        definition["allOf"] = conditions


def _conditions(key: str, kind: str, arguments: str, partial: bool) -> Iterator[dict[str, Any]]:
    for name, entry in catalog.entries(kind).items():
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
