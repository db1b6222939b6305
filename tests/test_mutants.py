"""The list of mutants fits the code, and the page with its score fits the list; ``make mutants`` makes the changes."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/tests.md"


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "benchmarks/mutants.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


MODULE = benchmark()
MUTANTS = MODULE.read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{Path(mutant.file).stem}: {mutant.says}")
def test_a_mutant_can_be_made(mutant: MODULE.Mutant) -> None:  # type: ignore[name-defined]
    assert MODULE.misfit(mutant) == ""
    if mutant.file.endswith(".py"):
        text = (ROOT / mutant.file).read_text().replace(mutant.old, mutant.new)
        compile(text, mutant.file, "exec")


def test_no_two_mutants_are_the_same() -> None:
    assert max(Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS).values()) == 1
    assert max(Counter(mutant.says for mutant in MUTANTS).values()) == 1


def test_the_page_has_the_score() -> None:
    assert MODULE.score_table(MUTANTS, MODULE.read_verdicts()) in PAGE.read_text()


def test_a_change_is_made_and_unmade(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    mutant = MODULE.Mutant("kind", "says", "a.py", "x = 1", "x = 2", ())
    with MODULE.applied(mutant, tmp_path):
        assert file.read_text() == "x = 2\n"
    assert file.read_text() == "x = 1\n"
    assert "2 times" in MODULE.misfit(MODULE.Mutant("", "", "b.py", "x", "y", ()), _with(tmp_path, "b.py", "x x"))
    assert "not there" in MODULE.misfit(MODULE.Mutant("", "", "c.py", "x", "y", ()), tmp_path)


def test_failing_passing_and_missing_tests_are_told_apart(tmp_path: Path) -> None:
    _with(tmp_path, "test_passing.py", "def test_it():\n    assert True\n")
    _with(tmp_path, "test_failing.py", "def test_it():\n    assert False\n")
    _with(tmp_path, "test_endless.py", "def test_it():\n    while True:\n        pass\n")
    assert not MODULE.tests_fail(tmp_path, ["test_passing.py"], 60)
    assert MODULE.tests_fail(tmp_path, ["test_failing.py"], 60)
    assert MODULE.tests_fail(tmp_path, ["test_endless.py"], 5)
    with pytest.raises(RuntimeError):
        MODULE.tests_fail(tmp_path, ["test_passing.py", "-k", "nothing"], 60)


def _with(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder
