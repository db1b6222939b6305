"""The reading of YAML: numbers as people write them, no surprises of YAML 1.1, and lines that fit a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustscape.config.attacks import AttackSpec
from robustscape.config.base import read_yaml, validate_model
from robustscape.config.studies import RunSet
from robustscape.errors import ConfigError

ROOT = Path(__file__).parents[2]
LONGEST = 120


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5.0e-4", 0.0005),
        ("-2E4", -20000.0),
        (".5", 0.5),
        ("0.1", 0.1),
        ("0", 0),
        ("-10", -10),
        ("8/255", "8/255"),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("1:30", "1:30"),
        ("2020-10-28", "2020-10-28"),
        ("1_000", "1_000"),
        ("'010'", "010"),
        ("1e", "1e"),
    ],
)
def test_plain_words(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"key: {text}\n")
    found = read_yaml(path)["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("text", "decimal"), [("010", "10"), ("-007", "-7"), ("00", "0")])
def test_an_integer_with_leading_zeros_is_refused(tmp_path: Path, text: str, decimal: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"first: 1\nkey: {text}\n")
    with pytest.raises(ConfigError, match=rf"file.yaml.*'{text}' \(line 2\).*write {decimal}, or"):
        read_yaml(path)


def yaml_files() -> list[Path]:
    """Those of the repository: not what is generated, installed or made by tools."""
    folders = ("config", "workflow", "profiles", ".github", "docs", "tests", "benchmarks", "resources")
    found = {path for folder in (ROOT / name for name in folders) for path in folder.rglob("*")}
    return sorted(path for path in found | set(ROOT.iterdir()) if path.suffix in {".yaml", ".yml"})


@pytest.mark.parametrize("path", yaml_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_line_is_longer_than_a_screen(path: Path) -> None:
    long = [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > LONGEST]
    assert long == []


def test_merged_keys_are_merged_and_ones_own_win(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("base: &base {x: 1, y: 1}\nown:\n  <<: *base\n  y: 2\n")
    assert read_yaml(path)["own"] == {"x": 1, "y": 2}
    path.write_text("base: &base {x: 1}\nown:\n  <<: *base\n  y: 2\n  y: 3\n")
    with pytest.raises(ConfigError, match="'y' is written twice"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["[1, 2]: 3", "{a: 1}: 3", "? [1]\n: 2"])
def test_a_key_that_is_no_word_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"a key must be a word or a number \(line 1\)"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"attack": "pgd", "parameters": {"steps": True}}, "key 'steps' got true, allowed is a number"),
        ({"attack": "pgd", "parameters": {"steps": "1:30"}}, "key 'steps' got '1:30'"),
        ({"attack": "pgd", "parameters": {"rel_step_size": float("nan")}}, "key 'rel_step_size' got nan"),
        ({"attack": "pgd", "bounds": [False, True]}, r"key 'bounds' got \[false, true\], allowed is a number"),
    ],
)
def test_a_number_is_a_number(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate_model(AttackSpec, content, "here")


@pytest.mark.parametrize("eps", [[float("nan")], [float("inf")], [-0.1], [0.1, 0.1000001], [0.1, 0.1]])
def test_budgets_of_runs_are_numbers_with_folders_of_their_own(eps: list[float]) -> None:
    content = {"dataset": "d", "architecture": "a", "recipe": "r", "eps": eps}
    with pytest.raises(ConfigError, match="eps"):
        validate_model(RunSet, content, "here")
