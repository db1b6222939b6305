"""The generated pages of the documentation site: configuration, catalogue, commands, library, results.

They are made from the models that read the configuration, the signatures and docstrings of the catalogue, the parser of the
command line and the list of modules, whenever the site is built (``docs/_hooks.py``); they are not files. Imports no torch.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.cli import schema_documents
from robustscape.cli.main import build_parser
from robustscape.cli.result_pages import result_pages

#: Kind in the catalogue -> title of its page, and where its functions are named.
KINDS = {
    "method": ("Methods", "`method` and `parameters` of a recipe"),
    "attack": ("Attacks", "`attack` and `parameters` of an entry of `config/attacks/`"),
    "optimizer": ("Optimizers", "`optimizer` of a recipe"),
    "probe": ("Probes", "`probes` of a recipe; a probe writes columns of `history.csv`"),
    "trace": ("Traces", "`traces` of a recipe; a trace writes columns of `updates.csv`"),
    "precision": ("Precisions of an attack's search", "`precision` of a measurement and of `robustscape attack`"),
    "dataset": ("Data sets", "`dataset` and `parameters` of an entry of `config/datasets.yaml`"),
    "architecture": ("Architectures", "`architecture` and `parameters` of an entry of `config/architectures.yaml`"),
    "measurement": ("Measurements", "`measurements` of a study; each is made of trained runs one by one"),
    "comparison": ("Comparisons", "`comparisons` of a study; each is made of several trained runs together"),
    "theory": ("Theory checks", "`theory` of a study; no check needs a trained run"),
    "table": ("Tables", "`draw` and `options` of an item of kind `table`"),
    "figure": ("Figures", "`draw` and `options` of an item of kind `figure`"),
}


def pages() -> dict[str, str]:
    """Every generated page: path in the site's source folder -> Markdown."""
    return {
        "reference/commands.md": _commands_page(),
        **_configuration_pages(),
        **_catalogue_pages(),
        **_library_pages(),
        **result_pages(),
    }


# -- configuration files -----------------------------------------------------------------------------------------------


def _configuration_pages() -> dict[str, str]:
    """An index and a page per kind of file below ``config/``."""
    folder = "reference/configuration"
    index = [
        "# Configuration files",
        "",
        "The experiment is the YAML in `config/`. Unknown keys, unknown names and values out of range are errors before",
        "any job starts. Numbers may be written as quotients: `8/255`. The functions that the files name are in the",
        "[catalogue](../catalogue/index.md). An editor that knows the YAML language server completes and checks the keys once",
        "`robustscape schemas` has written the schemas that the first line of every file names.",
        "",
        "| file | content |",
        "|---|---|",
        *(f"| [`config/{file.path}`]({file.name}.md) | {_cell(_purpose(file))} |" for file in schema_documents.FILES),
    ]
    return {
        f"{folder}/index.md": _text(index),
        **{f"{folder}/{file.name}.md": _text(_configuration_page(file)) for file in schema_documents.FILES},
    }


def _configuration_page(file: schema_documents.File) -> Iterator[str]:
    schema = schema_documents.schema_of(file.model)
    yield from [f"# `config/{file.path}`", "", _purpose(file), ""]
    if file.named:
        yield from ["The file maps names to entries with these keys.", ""]
    yield from _key_table(schema)
    for name, definition in schema.get("$defs", {}).items():
        yield from ["", f"## {name}", "", _markdown(definition.get("description", "")), "", *_key_table(definition)]


def _purpose(file: schema_documents.File) -> str:
    """The first sentence of the docstring that says what a kind of file is for, without the path in front of it."""
    text = (inspect.getdoc(inspect.getmodule(file.model)) or "").split("\n")[0]
    if file.name in ("attacks", "suites"):  # one module for both
        text = (inspect.getdoc(file.model) or "").split("\n")[0]
    sentence = _markdown(text.rpartition("``: ")[2])
    return sentence[:1].upper() + sentence[1:]


def _key_table(schema: dict[str, Any]) -> Iterator[str]:
    """A table of a schema's keys; nothing for a schema without any."""
    required = schema.get("required", [])
    if schema.get("properties"):
        yield from ["| key | type | default | description |", "|---|---|---|---|"]
    for key, value in schema.get("properties", {}).items():
        default = "required" if key in required else f"`{json.dumps(value.get('default'), ensure_ascii=False)}`"
        yield f"| `{key}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |"


def _type(schema: dict[str, Any]) -> str:
    """The type of a value in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        options = [_type(option) for option in schema["anyOf"] if option != schema_documents.NUMBER_TEXT]
        return " or ".join(options) + _range(schema)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_type(item) for item in schema['prefixItems'])}]"
        items = schema.get("items") or {}
        return f"list of {_type(items)}" if items else "list"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"mapping of names to {_type(values)}" if isinstance(values, dict) and values else "mapping"
    names = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
    return names.get(schema.get("type", ""), "anything") + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    found = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return f" {', '.join(found)}" if found else ""


# -- catalogue ---------------------------------------------------------------------------------------------------------


def _catalogue_pages() -> dict[str, str]:
    """An index and a page per kind of function that the configuration can name."""
    folder = "reference/catalogue"
    kinds = {kind: KINDS[kind] for kind in catalog.KINDS}
    index = [
        "# Catalogue",
        "",
        "Every function that the configuration can name. A file in the right folder that defines a function of its own name",
        "is in the catalogue; nothing is registered. `robustscape list attacks` and its like print the same names.",
        "",
        "| kind | functions | named in |",
        "|---|---|---|",
        *(
            f"| [{title}]({kind}.md) | {len(catalog.catalog_entries(kind))} | {use} |"
            for kind, (title, use) in kinds.items()
        ),
    ]
    return {
        f"{folder}/index.md": _text(index),
        **{f"{folder}/{kind}.md": _text(_catalogue_page(kind)) for kind in kinds},
    }


def _catalogue_page(kind: str) -> Iterator[str]:
    title, use = KINDS[kind]
    yield from [f"# {title}", "", f"Named in {use}."]
    for name, entry in catalog.catalog_entries(kind).items():
        module = entry.module
        yield from ["", f"## `{name}`", "", *_headlines(entry), "", f"Source: [`{module}`][{module}]", ""]
        schema = schema_documents.schema_of(entry.parameters)
        described = _arguments(_docstrings(entry)[1])
        for key, value in schema.get("properties", {}).items():
            value["description"] = described.get(key, "")
            if key in entry.references:
                value["type"] = "string"
        yield from _key_table(schema)


def _docstrings(entry: catalog.Entry) -> tuple[str, str]:
    """Docstrings of an entry's module and function."""
    tree = ast.parse(entry.path.read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry.path.stem)
    return ast.get_docstring(tree) or "", ast.get_docstring(function) or ""


def _headlines(entry: catalog.Entry) -> list[str]:
    """The first paragraphs of the docstrings of an entry's module and function."""
    first = [text.split("\n\n")[0].replace("\n", " ").strip() for text in _docstrings(entry)]
    return [line for text in dict.fromkeys(first) if text for line in (_markdown(text), "")][:-1]


def _arguments(docstring: str) -> dict[str, str]:
    """Descriptions of the arguments in a docstring's ``Args:`` section."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n|\n)+)", docstring + "\n", re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in (section.group(1) if section else "").splitlines():
        if match := re.match(r" {4}(\w+): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
    return found


# -- commands ----------------------------------------------------------------------------------------------------------


def _commands_page() -> str:
    """The help of the ``robustscape`` command and of each subcommand."""
    parser = build_parser()
    lines = [
        "# Commands",
        "",
        "Options before the command apply to all commands: `robustscape --scale paper doctor`. A mistake in a file or an",
        "argument ends with one sentence on standard error and exit code 2.",
        "",
        *_help(parser),
    ]
    for name, command in subcommands(parser).items():
        lines += ["", f"## `{name}`", "", *_help(command)]
    return _text(lines)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of all subcommands, by name."""
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def _help(parser: argparse.ArgumentParser) -> list[str]:
    return ["```text", parser.format_help().rstrip(), "```"]


# -- library -----------------------------------------------------------------------------------------------------------


def _library_pages() -> dict[str, str]:
    """An index and a page per package, with the public modules of each for mkdocstrings to document."""
    folder = "reference/library"
    packages = {path: _public_modules(path) for path in sorted([catalog.PACKAGE, *catalog.PACKAGE.rglob("*")])}
    names = {
        path: ".".join(path.relative_to(catalog.PACKAGE.parent).parts) for path, found in packages.items() if found
    }
    index = [
        "# Library",
        "",
        "The modules of the package by folder. Modules whose names begin with `_` belong to their own folder and are left out.",
        "",
        "| package | content |",
        "|---|---|",
        *(
            f"| [`{name}`]({name}.md) | {_cell(_first_sentence(path / '__init__.py'))} |"
            for path, name in names.items()
        ),
    ]
    return {
        f"{folder}/index.md": _text(index),
        **{
            f"{folder}/{name}.md": _text([f"# `{name}`", *(f"\n::: {name}.{stem}" for stem in packages[path])])
            for path, name in names.items()
        },
    }


def _public_modules(package: Path) -> list[str]:
    """Names of the modules in a folder that do not begin with an underscore."""
    return sorted(path.stem for path in package.glob("*.py") if not path.stem.startswith("_"))


def _first_sentence(path: Path) -> str:
    """The first line of a module's docstring; empty without one or without the file."""
    return (
        (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0] if path.exists() else ""
    )


# -- Markdown ----------------------------------------------------------------------------------------------------------


def _text(lines: list[str] | Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """A docstring's text as Markdown: code between single backticks, no HTML elsewhere."""
    parts = text.replace("``", "`").split("`")
    return "`".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


def _cell(text: str) -> str:
    """The same in a cell of a table."""
    return _markdown(text).replace("\n", " ").replace("|", "\\|").strip()
