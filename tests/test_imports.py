"""Imports go one way through the library, without exceptions: a lower package never imports a higher one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "robustscape"

#: Lower to higher; those of one line do not import each other.
ORDER = (
    ("errors", "numbers", "gpu_locks"),
    ("devices", "catalog"),
    ("config",),
    ("storage",),
    ("data", "models"),
    ("attacks",),
    ("report",),
    ("claims",),
    ("evaluation",),
    ("landscape",),
    ("training",),
    ("theory",),
    ("pipeline",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__"))


def imported(path: Path) -> set[str]:
    """Dotted names below ``robustscape`` that a file imports, those for type checking only included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "robustscape":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("robustscape.")}
    return {name.removeprefix("robustscape.") for name in found if name != "robustscape.__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    own, *inner = path.relative_to(PACKAGE).with_suffix("").parts
    assert own in RANK, f"say in this test where '{own}' stands"
    for name in imported(path):
        other = name.split(".")[0]
        assert other == own or RANK[other] < RANK[own], f"{own} imports {name}"
        # A private module belongs to its package, and to the packages inside that one.
        parts = name.split(".")
        private = next((i for i, part in enumerate(parts) if part.startswith("_") and i > 0), None)
        if private is not None and len(parts) - private <= 2:
            folder = parts[:private]
            assert [own, *inner][: len(folder)] == folder, f"{path.relative_to(PACKAGE)} imports the private {name}"


@pytest.mark.parametrize(
    "package",
    ["config", "report", "claims", *(f"pipeline/{name}.py" for name in ("plan", "fingerprints", "jobs", "dvc"))],
)
def test_planning_and_the_report_import_no_torch(package: str) -> None:
    found = PACKAGE / package
    for path in [found] if found.is_file() else sorted(found.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path
