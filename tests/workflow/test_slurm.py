"""The workflow through its Slurm profile, for real, on a Slurm of one node; skipped, saying so, where none can be started."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import slurm, small_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(slurm.why_not() is not None, reason=str(slurm.why_not())),
]

faults = small_study.faults

CLEAN = "models/digits_tiny/resnet18_tiny_half/yamada2021_svhn/eps0/seed0"

#: The longest run takes so many times the minutes that its job may run.
BEYOND = 1.25


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm."""
    with slurm.one_node(tmp_path_factory.mktemp("slurm")):
        yield


def start_on_cluster(place: faults.Place) -> subprocess.Popen[str]:  # type: ignore[name-defined]
    """Snakemake through the profile, as docs/how-to/cluster.md says; it looks at jobs each second instead of every forty."""
    quick = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"]
    quick += ["--seconds-between-status-checks", "1", "--latency-wait", "5"]
    quick += ["--retries", "10"]  # the profile has 3, too few where other work makes a job pass its limit several times
    process: subprocess.Popen[str] = place.start(
        "snakemake", "--profile", "workflow/profiles/slurm", "--config", "scale=smoke", *quick
    )
    return process


def minutes_for(seconds: float) -> int:
    """Return the minutes that a job may run, where the whole study took so many seconds outside of Slurm.

    A minute, the least that Slurm knows, on a machine that does nothing else. A job starts Python three times before it
    trains: on a busy machine a minute would pass before its first epoch.
    """
    return math.ceil(seconds / 20)


def lengthened(place: faults.Place, epochs: int, minutes: int) -> None:  # type: ignore[name-defined]
    """Have clean training take so many epochs, and jobs that train a limit."""
    scale = place.root / "config/scales/smoke/common.yaml"
    assert "resources" not in scale.read_text()
    limits = f"resources: {{train: {{runtime: {minutes}, mem_mb: 1500}}, evaluate: {{mem_mb: 1500}}, item: {{mem_mb: 500}}}}\n"
    own = (
        f'recipes: {{"*": {{epochs: 4, probe_samples: 16}}, yamada2021_svhn: {{epochs: {epochs}, probe_samples: 16}}}}'
    )
    scale.write_text(re.sub("recipes: .*", own, scale.read_text()) + limits)


def test_a_cancelled_job_a_drained_node_and_a_limit_that_is_passed(cluster: None, tmp_path: Path) -> None:
    """One job is cancelled, another passes its limit and goes on; the results are those of this machine alone."""
    alone, place = (faults.make_place(tmp_path / name) for name in ("alone", "cluster"))
    code, output, whole = alone.run()
    assert code == 0, output[-3000:]
    minutes = minutes_for(whole)
    seconds = json.loads((alone.results / CLEAN / "run.json").read_text())["epoch_seconds"]
    for one in (alone, place):
        lengthened(one, math.ceil(BEYOND * minutes * 60 / statistics.median(seconds)), minutes)
    undisturbed = alone.start(*faults.RUN)

    process = start_on_cluster(place)
    slurm.wait_for(slurm.jobs, "a job of the cluster", 300)
    slurm.call("scancel", slurm.jobs()[0])
    node = slurm.call("sinfo", "-h", "-o", "%n").strip()
    slurm.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.wait_for(lambda: not slurm.jobs(), "the node to be empty", 300)
    slurm.call("scontrol", "update", f"nodename={node}", "state=resume")
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, output[-4000:]
    assert undisturbed.communicate(timeout=600) and undisturbed.returncode == 0

    differing = [
        name for name, content in faults.contents(alone).items() if faults.contents(place).get(name) != content
    ]
    assert differing == [], output[-3000:]
    assert output.count("Trying to restart job") >= 2, "the one that was cancelled, and the one that was too long"
    sent = set(re.findall(r"submitted with SLURM jobid .*/slurm_logs/rule_([a-z]+)_", output))
    assert {"theory", "train", "evaluate", "landscape", "compare"} <= sent
    assert not sent & {"item", "prepare"}, "these run where Snakemake does"
