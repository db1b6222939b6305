"""The project with a study of two runs that train in seconds, which ``benchmarks/faults.py`` breaks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faults = _load_script(Path(__file__).parents[2] / "benchmarks/faults.py")
