"""``tests/`` mirrors the packages: the tests of a package are in the folder of its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "robustscape"


def test_every_folder_of_tests_is_a_package() -> None:
    """Except ``workflow``, whose tests run Snakemake on the whole, and ``gpu``, whose tests run much of it on a pretended GPU."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")}
    expected = {path for path in folders if path.parts and path.parts[0] not in ("workflow", "gpu")}
    packages = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    assert sorted(map(str, expected - packages)) == []


def test_names_of_tests_do_not_repeat_their_folder() -> None:
    tests = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    repeated = [path for path in tests if len(path.parts) > 1 and path.stem.startswith(f"test_{path.parts[-2]}_")]
    assert repeated == []


CODE = sorted(p for folder in ("src", "workflow", "resources", "benchmarks") for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_files_are_utf_8(path: Path) -> None:
    """Without an encoding Python takes that of the system, which is ASCII under LC_ALL=C."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if name not in ("open", "read_text", "write_text") or owner in ("os", "tarfile", "Image", "gzip", "zipfile"):
            continue
        if name == "write_text" and (owner == "atomic" or isinstance(node.func, ast.Name)):
            continue  # ours, which is always UTF-8
        mode = next((a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)), "")
        binary = name == "open" and "b" in mode
        assert binary or any(keyword.arg == "encoding" for keyword in node.keywords), f"line {node.lineno}"
