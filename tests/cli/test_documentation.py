"""The generated files: up to date, complete, the same every time, and agreeing with the models they are made from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from robustscape.cli import documentation, schemas
from robustscape.config.base import validate
from robustscape.errors import ConfigError

ROOT = Path(__file__).parents[2]
FILES = {file.name: file for file in schemas.FILES}


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schemas.document(FILES[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_what_is_committed_is_up_to_date() -> None:
    assert documentation.write(ROOT, check=True) == [], "run `robustscape docs`"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project in which everything that is generated has just been generated."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    assert len(documentation.write(tmp_path, check=True)) == 1 + len(FILES)  # all of them are missing
    documentation.write(tmp_path)
    return tmp_path


def test_check_finds_what_is_stale_and_changes_nothing(copy: Path) -> None:
    schema, dvc = copy / "workflow/schemas/recipe.schema.json", copy / "dvc.yaml"
    schema.write_text(schema.read_text() + " ")
    dvc.unlink()
    (copy / "workflow/schemas/gone.schema.json").write_text("{}")
    stale = ["dvc.yaml", "workflow/schemas/gone.schema.json", "workflow/schemas/recipe.schema.json"]
    assert documentation.write(copy, check=True) == stale
    assert documentation.write(copy, check=True) == stale
    assert documentation.write(copy) == []
    assert documentation.write(copy, check=True) == []
    assert not (copy / "workflow/schemas/gone.schema.json").exists()


def test_generating_needs_no_torch_and_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib, sys; from pathlib import Path; from robustscape.cli.documentation import documents;"
        "print(hashlib.sha256(repr(documents(Path('.'))).encode()).hexdigest(), 'torch' in sys.modules)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[i]
        for seed in ("1", "2")
        for i in (0, 1)
    }
    assert len(said) == 2 and "False" in said


# -- schemas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [(file.name, path) for file in schemas.FILES for path in sorted((ROOT / "config").glob(file.path))],
    ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else value,
)
def test_the_projects_own_files_fit_their_schema(name: str, path: Path) -> None:
    assert [error.message for error in validator(name).iter_errors(yaml.safe_load(path.read_text()))] == []


def test_every_file_of_the_configuration_has_a_schema() -> None:
    covered = {path for file in schemas.FILES for path in (ROOT / "config").glob(file.path)}
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
        validate(file.model, entry, "here")
    else:
        with pytest.raises(ConfigError):
            validate(file.model, entry, "here")


def test_a_recipe_that_extends_another_may_leave_things_out() -> None:
    assert validator("recipe").is_valid({"extends": "other", "optimizer": {"parameters": {"lr": 0.2}}})


def test_schemas_are_json_with_a_dialect() -> None:
    for name in FILES:
        schema = json.loads((ROOT / f"workflow/schemas/{name}.schema.json").read_text())
        assert schema["$schema"].endswith("2020-12/schema") and schema["title"].startswith("config/")
