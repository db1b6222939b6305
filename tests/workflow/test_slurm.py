"""The workflow through its Slurm profile, for real, on a Slurm of one node; skipped, saying so, where none can be started."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import slurm
from .conftest import Project, copy_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fault,
    pytest.mark.timeout(3000),
    pytest.mark.xdist_group("workflow"),
    pytest.mark.skipif(slurm.why_not() is not None, reason=str(slurm.why_not())),
]

RUN = "digits2_tiny/logistic_regression/yamada2021_mnist2-pgd_l2/eps1/seed0"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm."""
    with slurm.one_node(tmp_path_factory.mktemp("slurm")):
        yield


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Snakemake through the profile, as docs/how-to/cluster.md says; checks once a second instead of every forty."""
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/slurm", "--config", "scale=smoke"]
    quick = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"]
    quick += ["--seconds-between-status-checks", "1", "--latency-wait", "5"]
    return subprocess.Popen(
        [*command, "studies=[yamada2021]", *quick, *arguments],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def numbers(project: Project) -> dict[str, bytes]:
    """The results that must be the same bits, by name: weights, tables, items, verdicts."""
    files = [path for path in project.results.rglob("*") if path.suffix in (".csv", ".safetensors", ".md", ".tex")]
    kept = [path for path in files if "updates" not in path.name and "logs" not in path.parts]
    return {str(path.relative_to(project.results)): path.read_bytes() for path in kept}


def same(left: dict[str, bytes], right: dict[str, bytes]) -> list[str]:
    """Names of the files that differ, those with seconds in them left out."""
    timed = re.compile(rb"seconds|time_per|overhead")
    names = [name for name in left if not timed.search(left[name][:400] if name.endswith(".csv") else b"")]
    return [name for name in names if left[name] != right.get(name)]


def test_the_whole_dag_with_a_cancelled_job_and_a_drained_node(
    cluster: None, finished: Project, tmp_path: Path
) -> None:
    """A job that is cancelled is tried again; a drained node makes jobs wait; the results are those of this machine alone."""
    project = copy_project(tmp_path / "project")
    process = start(project)
    slurm.wait_for(slurm.jobs, "a job of the cluster", 300)
    slurm.call("scancel", slurm.jobs()[0])
    node = slurm.call("sinfo", "-h", "-o", "%n").strip()
    slurm.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.wait_for(lambda: not slurm.jobs(), "the node to be empty", 600)
    slurm.call("scontrol", "update", f"nodename={node}", "state=resume")
    output = process.communicate(timeout=2400)[0]
    assert process.returncode == 0, output[-4000:]
    assert same(numbers(finished), numbers(project)) == []
    submitted = re.findall(r"rule (\w+) submitted|(?:Job \d+ has been submitted)", output)
    assert len(submitted) > 10, "training and measurements are jobs of the cluster"
    assert not list((project.root / ".snakemake/slurm_logs").glob("rule_item_*")), "tables are not"


def lengthened(project: Project, epochs: int) -> Project:
    """The project with a limit of a minute for a job that trains one run for so many epochs."""
    path = project.root / "config/scales/smoke/common.yaml"
    text = re.sub(r"epochs: \d+,", f"epochs: {epochs},", path.read_text(), count=1)
    path.write_text(re.sub("runs_per_job: .*", "runs_per_job: 1", text).replace("runtime: 10}", "runtime: 1}"))
    return project


def test_a_job_over_its_time_goes_on_in_the_next_attempt(cluster: None, tmp_path: Path) -> None:
    """A run of about 100 seconds against a limit of 60: the same bits as without a limit, by the second attempt."""
    alone = lengthened(copy_project(tmp_path / "alone"), 200)
    assert alone.command("prepare", "digits2_tiny").returncode == 0
    assert alone.command("train", RUN).returncode == 0
    seconds = json.loads((alone.results / "models" / RUN / "run.json").read_text())["epoch_seconds"]
    epochs = math.ceil(100 / statistics.median(seconds))
    lengthened(alone, epochs)
    assert alone.command("train", RUN).returncode == 0
    project = lengthened(copy_project(tmp_path / "project"), epochs)
    folder = project.results / "models" / RUN
    output = start(project, "--", str((folder / "model.safetensors").relative_to(project.root))).communicate(
        timeout=1800
    )[0]
    assert "Trying to restart job" in output, output[-3000:]
    for name in ("model.safetensors", "history.csv"):
        assert (folder / name).read_bytes() == (alone.results / "models" / RUN / name).read_bytes(), output[-3000:]
