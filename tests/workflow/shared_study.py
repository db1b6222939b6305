"""Two studies of tiny runs, made by DVC, and the places through which they are shared: a folder and an S3 server."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moto.server import ThreadedMotoServer

from robustscape.config.loading import load_experiment
from robustscape.pipeline import dvc
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]

PAGE = ROOT / "docs/how-to/share-results.md"

#: A study that shares data, and a run, with the other one of its kind.
STUDY = """
work: {work}
title: A study that shares a run
reference: nobody, 2099
runs:
  shared: [{{dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn, eps: [0]}}]
  own: [{{dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn, eps: [0], seeds: [{seed}]}}]
measurements:
  accuracy: {{measure: accuracy, runs: [shared, own], parameters: {{attack: yamada2021_svhn_test}}}}
items:
  table_1:
    title: A table
    kind: table
    draw: grid
    options: {{index: [seed]}}
    rows: [{{of: accuracy}}]
    factors: [seed]
"""

WORKS = {"one2099": 7, "other2099": 8}

#: The scale is called `small`, as the one that `make pull` fetches.
SCALE = """
about: tiny
datasets: {svhn: digits_tiny}
architectures: {resnet18_svhn: resnet18_tiny}
recipes: {"*": {epochs: 1, probe_samples: 8}}
measurements: {"*": {samples: 16}}
runs_per_job: 2
device: cpu
"""

RESULTS = Path("results/small")

#: What an S3 server of the tests takes, whoever asks.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}

#: It wants to know who asks, without a proof.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    "Content-Type": "application/octet-stream",
}


@dataclass(frozen=True)
class Remote:
    """A place to share results through."""

    url: str
    write: Callable[[str, bytes], None]
    """Puts bytes into the file of this name, whatever was there."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What DVC must be told beside the address."""

    def spoil(self, content: bytes) -> None:
        """Change one bit of the object that holds these bytes."""
        self.write(object_name(content), bytes([content[0] ^ 1]) + content[1:])

    def mend(self, content: bytes) -> None:
        """Put the object right."""
        self.write(object_name(content), content)


def object_name(content: bytes) -> str:
    """Return the name under which DVC keeps a file of this content in a remote."""
    digest = hashlib.md5(content).hexdigest()
    return f"files/md5/{digest[:2]}/{digest[2:]}"


@contextmanager
def folder(path: Path) -> Iterator[Remote]:
    """A folder of this machine."""

    def write(name: str, content: bytes) -> None:
        (path / name).chmod(0o644)
        (path / name).write_bytes(content)

    yield Remote(str(path), write)


@contextmanager
def s3_server() -> Iterator[Remote]:
    """A bucket of an S3 server that lives in this process, and in its memory."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"

    def put(path: str, content: bytes) -> None:
        url = f"{endpoint}/bucket{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data=content, headers=SIGNED, method="PUT")):
            pass

    put("", b"")
    try:
        yield Remote(
            "s3://bucket/robustscape",
            lambda name, content: put(f"/robustscape/{name}", content),
            {"endpointurl": endpoint},
        )
    finally:
        server.stop()


def documented_lines(remote: Remote) -> list[str]:
    """Return the commands by which the page says that a remote is set, for this remote."""
    first, more = re.findall(r"^(dvc remote (?:add|modify) .*)$", PAGE.read_text(), flags=re.MULTILINE)
    lines = [first.replace("s3://bucket/robustscape", remote.url)]
    assert remote.url in lines[0]
    return lines + [more.replace("endpointurl URL", f"{key} {value}") for key, value in remote.settings.items()]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in ``folder``."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "AWS_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**clean, **CREDENTIALS, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def output(folder: Path, *command: str) -> str:
    """Return what a command prints; fail if the command fails."""
    done = run(folder, *command)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-3000:]}"
    return done.stdout + done.stderr


def pull(project: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run `make pull` of a project in the environment of the tests, which is not made anew."""
    return run(project, "make", f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.base", "pull", *settings)


def planned(project: Path, *targets: str) -> str:
    """Return what Snakemake would do."""
    return output(project, "snakemake", "-n", "--config", "scale=small", "--", *targets)


def make_project(project: Path) -> None:
    """Write a project with the two studies, its ``dvc.yaml`` and a Git repository; nothing is run."""
    ignored = shutil.ignore_patterns("__pycache__", ".snakemake", "*.egg-info")
    for name in ("src", "config", "workflow"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in ("Snakefile", "Makefile", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=lambda folder, names: {*names} - {"config", ".gitignore"})
    (project / "profiles").symlink_to("workflow/profiles")
    (project / "resources" / "paper").mkdir(parents=True)
    shutil.copy(ROOT / "resources/paper/liu2020_table_1.csv", project / "resources/paper")  # Git keeps no empty folder
    for folder in ("config/studies", "config/scales/small"):
        shutil.rmtree(project / folder)
        (project / folder).mkdir()
    for work, seed in WORKS.items():
        (project / f"config/studies/{work}.yaml").write_text(STUDY.format(work=work, seed=seed))
    (project / "config/scales/small/common.yaml").write_text(SCALE)
    plan = Plan(load_experiment(project / "config", "small"), Path("results"))
    (project / "dvc.yaml").write_text(dvc.dvc_yaml(plan))
    output(project, "git", "init", "--quiet")
    output(project, "git", "config", "user.name", "someone")
    output(project, "git", "config", "user.email", "someone@example.org")


def commit(project: Path) -> None:
    """Commit everything to Git."""
    output(project, "git", "add", "--all")
    output(project, "git", "commit", "--quiet", "-m", "everything")
