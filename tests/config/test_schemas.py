"""The schemas agree with the models they are made from, and every file of the configuration names and fits its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from robustscape.cli import schema_documents
from robustscape.config.base import read_yaml, validate_model
from robustscape.errors import ConfigError

ROOT = Path(__file__).parents[2]
FILES = {file.name: file for file in schema_documents.FILES}
PAIRS = [(file.name, path) for file in schema_documents.FILES for path in sorted((ROOT / "config").glob(file.path))]


def readable(value: Any) -> Any:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else value


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schema_documents.document(FILES[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("name", "path"),
    PAIRS,
    ids=readable,
)
def test_the_projects_own_files_fit_their_schema(name: str, path: Path) -> None:
    assert [error.message for error in validator(name).iter_errors(json.loads(json.dumps(read_yaml(path))))] == []


@pytest.mark.parametrize(("name", "path"), PAIRS, ids=readable)
def test_every_file_names_its_schema_in_its_first_line(name: str, path: Path) -> None:
    schema = os.path.relpath(ROOT / f"workflow/schemas/{name}.schema.json", path.parent)
    assert path.read_text().startswith(f"# yaml-language-server: $schema={schema}\n")


def test_every_file_of_the_configuration_has_a_schema() -> None:
    covered = {path for file in schema_documents.FILES for path in (ROOT / "config").glob(file.path)}
    assert covered == set((ROOT / "config").rglob("*.yaml"))


ATTACK = {"attack": "pgd", "parameters": {"steps": 3, "step_size": "2/255"}}
RECIPE = {"method": "standard", "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}}, "epochs": 2}


@pytest.mark.parametrize(
    ("name", "entry", "right"),
    [
        ("attacks", ATTACK, True),
        ("attacks", {**ATTACK, "norm": "L3"}, False),
        ("attacks", {**ATTACK, "setps": 3}, False),
        ("attacks", {"attack": "no_such_attack"}, False),
        ("attacks", {"attack": "pgd", "parameters": {"setps": 3}}, False),
        ("attacks", {"attack": "pgd", "parameters": {"steps": 0}}, False),
        ("attacks", {"attack": "pgd", "parameters": {"step_size": "two"}}, False),
        ("attacks", {"attack": "pgd", "parameters": {"step_size": -1}}, False),
        ("attacks", {"attack": "pgd", "parameters": {"step_size": None}}, True),
        ("recipe", RECIPE, True),
        ("recipe", {**RECIPE, "epochs": 0}, False),
        ("recipe", {**RECIPE, "optimizer": {"name": "sgd", "parameters": {"learning_rate": 0.1}}}, False),
        ("recipe", {key: value for key, value in RECIPE.items() if key != "method"}, False),
        ("config", {"scale": "small"}, True),
        ("config", {"scael": "small"}, False),
        ("datasets", {"dataset": "digits", "train": 100}, True),
        ("datasets", {"dataset": "digits", "train": "many"}, False),
        ("architectures", {"architecture": "lenet", "parameters": {"width": 4}}, True),
        ("architectures", {"architecture": "lenet", "parameters": {"witdh": 4}}, False),
    ],
)
def test_schema_and_model_accept_and_refuse_alike(name: str, entry: dict[str, Any], right: bool) -> None:
    file = FILES[name]
    assert validator(name).is_valid({"any": entry} if file.named else entry) is right
    if right:
        validate_model(file.model, entry, "here")
    else:
        with pytest.raises(ConfigError):
            validate_model(file.model, entry, "here")


def test_a_recipe_that_extends_another_may_leave_out_keys_but_not_parts_of_them() -> None:
    assert not validator("recipe").is_valid({"extends": "other", "optimizer": {"parameters": {"lr": 0.2}}})
    assert validator("recipe").is_valid({"extends": "other", "optimizer.parameters.lr": 0.2})
    assert validator("recipe").is_valid({**RECIPE, "variants": {"long": {"epochs": 9}, "bare": {"parameters.beta": 1}}})


@pytest.mark.parametrize("keys", [{"epoch": 9}, {"optimizer": {"name": "sdg"}}, {"epochs": 0}])
def test_a_variant_has_the_keys_of_a_recipe(keys: dict[str, Any]) -> None:
    assert not validator("recipe").is_valid({**RECIPE, "variants": {"other": keys}})


def test_a_part_of_a_study_has_no_title_and_a_study_has_all_of_its_head() -> None:
    assert validator("study").is_valid({"runs": {}})
    assert not validator("study").is_valid({"work": "mywork", "title": "A title"})


def test_they_are_written_where_the_files_look_for_them(tmp_path: Path) -> None:
    for path in schema_documents.write_schemas(tmp_path):
        schema = json.loads(path.read_text())
        assert schema["$schema"].endswith("2020-12/schema") and schema["title"].startswith("config/")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.schema.json" for name in FILES}
