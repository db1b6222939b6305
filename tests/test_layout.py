"""``tests/`` mirrors the packages: the tests of a package are in the folder of its name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "robustscape"


def test_every_folder_of_tests_is_a_package() -> None:
    """Except ``workflow``, whose tests run Snakemake on the whole."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")}
    expected = {path for path in folders if path.parts and path.parts[0] != "workflow"}
    packages = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    assert sorted(map(str, expected - packages)) == []


def test_names_of_tests_do_not_repeat_their_folder() -> None:
    tests = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    repeated = [path for path in tests if len(path.parts) > 1 and path.stem.startswith(f"test_{path.parts[-2]}_")]
    assert repeated == []
