"""Recipes from their files: what each takes over from another, its variants, and the members of grids.

Nothing merges silently. A recipe starts from the keys of the one it extends; a key it writes replaces that key as a whole,
and a key with dots (``optimizer.parameters.lr``) replaces that one value.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustscape.config.base import check_name, read_yaml, validate_model
from robustscape.config.reading import yaml_files
from robustscape.config.recipes import Recipe
from robustscape.config.studies import RunSet, Study
from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import number_label, parse_number

#: Keys of a file that the recipes which extend it do not take over.
_OWN = ("extends", "variants")

_REFERENCE = re.compile(r"\{([\w.]+)\}")


@dataclass(frozen=True)
class Definition:
    """A recipe before its keys are put together."""

    parent: str | None
    changes: Mapping[str, Any]
    where: str
    """The file, and the variant in it."""


def read_definitions(folders: Sequence[Path]) -> dict[str, Definition]:
    """Every recipe in ``recipes/`` of each of ``folders`` and its variants: name -> what its file says.

    Raises:
        ConfigError: a name cannot be a folder or is taken, or ``variants`` is no mapping of mappings.
    """
    found: dict[str, Definition] = {}
    for path in yaml_files(folders, "recipes"):
        content, name = read_yaml(path), check_name(path.stem, str(path))
        if name in found:
            raise ConfigError(f"{path}: there is another recipe of that name; give it another one.")
        if "-" in name:
            raise ConfigError(
                f"{path}: the name of a recipe's file got '-', which separates a recipe from its variant."
            )
        parent = content.get("extends")
        if parent is not None and not isinstance(parent, str):
            raise ConfigError(f"{path}: key 'extends' got {parent!r}, allowed is the name of one recipe.")
        own = {key: value for key, value in content.items() if key not in _OWN}
        found[name] = Definition(parent, own, str(path))
        variants = content.get("variants", {})
        if not isinstance(variants, dict):
            raise ConfigError(f"{path}: key 'variants' got {variants!r}, allowed are names with the keys they change.")
        for variant, changes in variants.items():
            if not isinstance(changes, dict) or set(_OWN) & set(changes):
                raise ConfigError(
                    f"{path}: key 'variants.{variant}' got {changes!r}, allowed are keys of a recipe but 'extends' and "
                    "'variants'."
                )
            found[f"{name}-{check_name(variant, str(path))}"] = Definition(name, changes, f"{path}: '{variant}'")
    return found


def apply_changes(content: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``content`` with ``changes``: a key replaces that key as a whole, a key with dots one value inside of it.

    >>> apply_changes({"a": {"b": 1, "c": 2}}, {"a.b": 3}, "here"), apply_changes({"a": {"b": 1}}, {"a": {"c": 2}}, "here")
    ({'a': {'b': 3, 'c': 2}}, {'a': {'c': 2}})

    Raises:
        ConfigError: a key with dots leads through something that has no keys.
    """
    result = dict(content)
    for key, value in changes.items():
        result = _replaced(result, str(key).split("."), value, f"{where}: key '{key}'")
    return result


def _replaced(content: Any, path: list[str], value: Any, where: str) -> Any:
    """A copy of ``content`` with the value at ``path``; places in a list are counted from 0."""
    head, rest = path[0], path[1:]
    if isinstance(content, list):
        if not (head.isdecimal() and int(head) < len(content)):
            raise ConfigError(
                f"{where}: got place '{head}' of a list of {len(content)}, allowed are 0 to its length - 1."
            )
        place = int(head)
        return [
            *content[:place],
            _replaced(content[place], rest, value, where) if rest else value,
            *content[place + 1 :],
        ]
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: '{head}' would be a key of {content!r}, which has no keys.")
    return {**content, head: _replaced(content.get(head, {}), rest, value, where) if rest else value}


def value_at(content: Any, key: str) -> Any:
    """The value of a key with dots.

    Raises:
        KeyError: there is no such key.
    """
    for part in key.split("."):
        if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        elif isinstance(content, dict) and part in content:
            content = content[part]
        else:
            raise KeyError(key)
    return content


def complete_recipe(name: str, definitions: Mapping[str, Definition], chain: tuple[str, ...] = ()) -> dict[str, Any]:
    """All keys of a recipe, those it takes over included.

    Raises:
        ConfigError: a recipe extends one that is not there, or itself.
    """
    definition, chain = definitions[name], (*chain, name)
    parent = definition.parent
    if parent is None:
        return apply_changes({}, definition.changes, definition.where)
    if parent not in definitions:
        raise ConfigError(
            f"{definition.where}: {unknown_name('recipe in extends', str(parent), definitions, '`robustscape list recipes`')}"
        )
    if parent in chain:
        raise ConfigError(
            f"{definition.where}: recipes extend each other in a circle: {' -> '.join([*chain, parent])}."
        )
    return apply_changes(complete_recipe(parent, definitions, chain), definition.changes, definition.where)


def read_recipes(folders: Sequence[Path], studies: Mapping[str, Study]) -> tuple[dict[str, Recipe], dict[str, Study]]:
    """The recipes of ``folders``, their variants and the members of the studies' grids; and the studies naming them all.

    Raises:
        ConfigError: with the file, the key, what it got and what is allowed.
    """
    definitions = read_definitions(folders)
    recipes = {name: _recipe(name, definitions) for name in definitions}
    swept: dict[str, set[str]] = {}
    expanded = {}
    for work, study in studies.items():
        runs = {}
        for name, run_sets in study.runs.items():
            where = f"{study.file_of('runs', name)}: runs '{name}'"
            runs[name] = [_expanded(run_set, where, definitions, recipes, swept) for run_set in run_sets]
        expanded[work] = study.model_copy(update={"runs": runs})
    return {
        name: recipe.model_copy(update={"factors": _factors(recipe, swept.get(name, ()), definitions[name].where)})
        for name, recipe in recipes.items()
    }, expanded


def _recipe(name: str, definitions: Mapping[str, Definition]) -> Recipe:
    return validate_model(Recipe, complete_recipe(name, definitions), definitions[name].where)


def _expanded(
    run_set: RunSet,
    where: str,
    definitions: dict[str, Definition],
    recipes: dict[str, Recipe],
    swept: dict[str, set[str]],
) -> RunSet:
    """The run set with every member of its grid named; new members are added to ``definitions`` and ``recipes``."""
    if not run_set.grid:
        return run_set
    columns = [key.rpartition(".")[2] for key in run_set.grid]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise ConfigError(
            f"{where}: grid: several keys end in '{twice[0]}', which would be one factor of the rows: "
            f"{', '.join(run_set.grid)}. Make variants of one of them."
        )
    names = []
    for base in run_set.recipe:
        if base not in recipes:
            raise ConfigError(f"{where}: {unknown_name('recipe', base, recipes, '`robustscape list recipes`')}")
        for changes in _combinations(run_set.grid):
            name, own = _member(base, recipes[base], changes, where)
            definition = Definition(base, own, f"{where}: grid of '{base}'")
            recipe = _recipe(name, {**definitions, name: definition}) if own else recipes[base]
            if name not in recipes:
                definitions[name], recipes[name] = definition, recipe
            elif recipes[name].model_dump(exclude=_NAMING) != recipe.model_dump(exclude=_NAMING):
                raise ConfigError(
                    f"{where}: grid: {own} of '{base}' would be called '{name}', which is another recipe; "
                    "give that variant another name, or the value fewer digits."
                )
            swept.setdefault(name, set()).update(changes)
            names.append(name)
    return run_set.model_copy(update={"recipe": names, "grid": {}})


#: Keys of a recipe that change nothing it does.
_NAMING = {"about", "extends", "factors", "variants"}


def _combinations(grid: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _member(base: str, recipe: Recipe, changes: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name of a member of a grid, and what it changes; values that are the recipe's own are left out."""
    content, parts, own = recipe.model_dump(), [base], {}
    for key, value in changes.items():
        try:
            same = value_at(content, key) == parse_number(value)
        except KeyError:
            raise ConfigError(f"{where}: grid: the recipe '{base}' has no key '{key}'.") from None
        if not same:
            number = parse_number(value)
            text = number_label(number) if isinstance(number, float) else str(number)
            parts.append(key.rpartition(".")[2] + text)
            own[key] = value
    return check_name("-".join(parts), where), own


def _factors(recipe: Recipe, swept: Iterable[str], where: str) -> dict[str, Any]:
    """The factors of the recipe: its ``factors``, references looked up, and the keys in which a grid varies it."""
    if not recipe.factors and not swept:
        return {}
    content = recipe.model_dump(exclude={"factors"})
    found = {key.rpartition(".")[2]: value_at(content, key) for key in sorted(swept)}
    for column, text in recipe.factors.items():
        found[column] = text
        if isinstance(text, str) and (reference := _REFERENCE.fullmatch(text)):
            try:
                found[column] = value_at(content, reference[1])
            except KeyError:
                raise ConfigError(
                    f"{where}: key 'factors.{column}' got '{text}'; the recipe has no such key."
                ) from None
    return found
