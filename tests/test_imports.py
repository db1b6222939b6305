"""Imports go one way through the library (ARCHITECTURE): a lower package never imports a higher one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "robustscape"

#: Lower to higher; packages of one line do not import each other, except as DOWN says.
ORDER = [
    {"errors"},
    {"atomic", "slots"},
    {"catalog", "config", "provenance", "checkpoints", "layout"},
    {"data", "models", "devices"},
    {"attacks"},
    {"runs"},
    {"evaluation", "landscape"},
    {"training"},
    {"theory"},
    {"plan"},
    {"report"},
    {"steps", "bench", "inventory", "doctor", "dvc"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

#: Within the lowest layers these know each other: the catalogue validates parameters, the configuration reads the catalogue.
TOGETHER = {"catalog", "config", "provenance", "checkpoints", "layout", "plan"}
#: Validation of a study's claims, and the generated documents, use functions of the report that import no torch.
EXCEPTIONS = {
    ("config/experiment.py", "report"),
    ("config/documentation.py", "report"),
    ("config/documentation.py", "dvc"),
    ("config/documentation.py", "plan"),
}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))


def imported(path: Path) -> set[str]:
    """Top-level names below ``robustscape`` that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "robustscape":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("robustscape."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("robustscape.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    own = relative.split("/")[0].removesuffix(".py")
    assert own in RANK, f"say in this test where '{own}' stands"
    for other in imported(path) - {own}:
        if (relative, other) in EXCEPTIONS or {own, other} <= TOGETHER:
            continue
        type_checking_only = own == "training" or own == "theory"
        assert RANK[other] < RANK[own] or (type_checking_only and RANK[other] <= RANK[own]), (
            f"{relative} imports {other}"
        )


def test_the_report_and_the_configuration_import_no_torch() -> None:
    for package in ("config", "report"):
        for path in (PACKAGE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.split(".")[0] == "torch" for name in names), path
