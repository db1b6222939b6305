"""A copy of the shipped configuration that a test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of config/ with the printed numbers beside it."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "paper").symlink_to(ROOT / "resources" / "paper")
    return tmp_path / "config"
