"""The generated files: up to date, and the same every time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robustscape.cli import documentation

ROOT = Path(__file__).parents[2]


def test_what_is_committed_is_up_to_date() -> None:
    assert documentation.write(ROOT, check=True) == [], "run `robustscape docs`"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project in which everything that is generated has just been generated."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    assert documentation.write(tmp_path, check=True) == ["dvc.yaml"]  # it is missing
    documentation.write(tmp_path)
    return tmp_path


def test_check_finds_what_is_stale_and_changes_nothing(copy: Path) -> None:
    dvc = copy / "dvc.yaml"
    dvc.write_text(dvc.read_text() + " ")
    assert documentation.write(copy, check=True) == ["dvc.yaml"]
    assert documentation.write(copy, check=True) == ["dvc.yaml"]
    assert documentation.write(copy) == []
    assert documentation.write(copy, check=True) == []


def test_generating_needs_no_torch_and_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib, sys; from pathlib import Path; from robustscape.cli.documentation import documents;"
        "print(hashlib.sha256(repr(documents(Path('.'))).encode()).hexdigest(), 'torch' in sys.modules)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().endswith(" False\n")
