"""A copy of the project that tests may run, spoil and mend."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Project:
    """A project folder and the ways to run it."""

    root: Path

    @property
    def results(self) -> Path:
        """The folder that the scale smoke writes to."""
        return self.root / "results" / "smoke"

    def environment(self) -> dict[str, str]:
        """One thread, and this copy's code."""
        bin_folder = str(Path(sys.executable).parent)
        path = os.pathsep.join([bin_folder, os.environ["PATH"]])
        return os.environ | {"PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1", "PATH": path}

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Snakemake at the scale smoke on this copy."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke", "studies=[yamada2021]"]
        return subprocess.run(
            [*command, *arguments], cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False
        )

    def planned(self) -> list[str]:
        """Names of the jobs that Snakemake would run now."""
        done = self.snakemake("--dry-run")
        assert done.returncode == 0, done.stdout + done.stderr
        if "Nothing to be done" in done.stdout + done.stderr:
            return []
        table = (done.stdout + done.stderr).split("\ntotal")[0].split("---\n")[-1].splitlines()
        names = [line.split()[0] for line in table if line.strip() and line.split()[-1].isdigit()]
        return [name for name in names if name not in ("all", "job")]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The robustscape command at the scale smoke on this copy."""
        return subprocess.run(
            [sys.executable, "-m", "robustscape", "--scale", "smoke", "--threads", "1", *arguments],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )


def copy_project(target: Path) -> Project:
    """The files of the project that running needs."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("src", "config", "workflow"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".snakemake"))
    shutil.copy(ROOT / "Snakefile", target)
    (target / "profiles").symlink_to("workflow/profiles")
    (target / "resources").symlink_to(ROOT / "resources")
    return Project(target)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy, nothing run."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which the whole DAG has run once at the scale smoke. Tests put back what they change."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    done = project.snakemake()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    # From here on one job per run, as at the scale `paper`: what Snakemake plans is then exactly what is made again.
    scale = project.root / "config/scales/smoke/common.yaml"
    scale.write_text(re.sub("runs_per_job: .*", "runs_per_job: 1", scale.read_text()))
    done = project.snakemake("--touch", "--forceall")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return project
