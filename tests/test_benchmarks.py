"""Every benchmark starts: it is run by hand, so nothing else would notice a renamed function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("script", sorted(ROOT.glob("benchmarks/[a-z]*.py")), ids=lambda path: path.stem)
def test_a_benchmark_explains_its_options(script: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, script, "--help"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@pytest.mark.slow
def test_the_check_of_a_gpu_fills_in_every_part_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/gpu_check.py", "--tiny", "--device", "cpu", "--threads", "1"]
    command += ["--peak-tflops", "0.1", "0.1", "0.2", "--output", tmp_path / "check.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert "gpu_check.py --tiny" in written["command"] and written["environment"]["torch"]
    rows = {row.get("net", row["part"]): row for row in written["results"]}
    assert list(rows) == ["device", "tests", "parity", "autoattack", "LeNet(2)", "PreActResNet18(2)"]
    assert rows["device"]["matrix_right"] and rows["tests"]["skipped"] == "no GPU"
    assert rows["parity"]["device"] == rows["parity"]["cpu"]
    assert rows["autoattack"]["robustscape"]["robust_accuracy_percent"] <= 100
    for net in ("LeNet(2)", "PreActResNet18(2)"):
        assert set(rows[net]["seconds"]) == {"fp32", "bf16"}
        assert 0 < rows[net]["share_of_peak"]["bf16"] < 1
