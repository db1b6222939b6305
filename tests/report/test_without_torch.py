"""The report reads files: none of its modules loads torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import robustscape
from robustscape import catalog, report


def test_no_module_of_the_report_loads_torch() -> None:
    root = Path(report.__file__).parent
    modules = [
        ".".join(("robustscape.report", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(root.rglob("*.py"))
    ]
    assert len(modules) > 15
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    source = Path(robustscape.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tables_and_figures_are_in_the_catalogue_with_a_summary() -> None:
    drawing = {**catalog.catalog_entries("table"), **catalog.catalog_entries("figure")}
    assert {"grid", "curves", "panelled_curves", "bars", "heatmap", "surface_3d"} <= set(drawing)
    assert all(len(entry.summary) > 20 for entry in drawing.values())
    assert catalog.find_entry("figure", "curves").parameters(x="alpha").share is True
