"""``robustscape dvc``: up to date, and the same bytes in every process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from robustscape.cli.dvc import write_dvc_yaml

ROOT = Path(__file__).parents[2]


def test_what_is_committed_is_up_to_date() -> None:
    assert write_dvc_yaml(ROOT, check=True), "run `robustscape dvc`"


def test_check_finds_what_is_stale_and_changes_nothing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    assert not write_dvc_yaml(tmp_path, check=True), "it is missing"
    assert write_dvc_yaml(tmp_path) and write_dvc_yaml(tmp_path, check=True)
    stale = (tmp_path / "dvc.yaml").read_text() + " "
    (tmp_path / "dvc.yaml").write_text(stale)
    assert not write_dvc_yaml(tmp_path, check=True)
    assert (tmp_path / "dvc.yaml").read_text() == stale
    assert write_dvc_yaml(tmp_path) and (tmp_path / "dvc.yaml").read_text() == stale[:-1]


def test_generating_needs_no_torch_and_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    program = (
        "import sys; from pathlib import Path; from robustscape.cli.dvc import write_dvc_yaml;"
        "write_dvc_yaml(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    texts = set()
    for seed in ("1", "2"):
        (tmp_path / "dvc.yaml").unlink(missing_ok=True)
        environment = {"PYTHONPATH": "src", "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=environment, check=True)
        texts.add((tmp_path / "dvc.yaml").read_text())
    assert len(texts) == 1
