"""``dvc.yaml`` is the plan, cut by studies; and DVC, Git and Snakemake agree on what is up to date."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustscape.config.loading import load_experiment
from robustscape.pipeline import dvc
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]

#: A second study that shares data, and some runs, with yamada2021.
OTHER = """
work: other2099
title: Another study
reference: nobody, 2099
runs:
  shared: [{dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn, eps: [0]}]
  own: [{dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn, eps: [0], seeds: [7]}]
measurements:
  accuracy: {measure: accuracy, runs: [shared, own], parameters: {attack: yamada2021_svhn_test}}
items:
  table_1:
    title: A table
    kind: table
    draw: grid
    options: {index: [seed]}
    rows: [{of: accuracy}]
    factors: [seed]
"""


def plan(scale: str, root: Path = ROOT) -> Plan:
    return Plan(load_experiment(root / "config", scale), Path("results"))


@pytest.fixture(scope="module")
def two_studies(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of a configuration with a second study."""
    root = tmp_path_factory.mktemp("two")
    shutil.copytree(ROOT / "config", root / "config")
    (root / "resources").symlink_to(ROOT / "resources")
    (root / "config/studies/other2099.yaml").write_text(OTHER)
    return plan("paper", root)


def test_the_file_is_the_plan() -> None:
    assert (ROOT / "dvc.yaml").read_text() == dvc.dvc_yaml(plan("small")), "run `robustscape dvc`"


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_output_is_in_exactly_one_folder_of_the_stage_that_makes_it(scale: str) -> None:
    check(plan(scale))


def test_the_same_with_runs_that_studies_share(two_studies: Plan) -> None:
    check(two_studies)


def check(a_plan: Plan) -> None:
    stages = dvc.dvc_stages(a_plan)
    assert set(a_plan.studies) | {"data", "report"} <= set(stages)
    owners = {next(iter(out)): name for name, stage in stages.items() for out in stage["outs"]}
    assert len(owners) == sum(len(stage["outs"]) for stage in stages.values())
    for job in list_jobs(a_plan):
        found = {owner_of(output, owners) for output in job.outputs}
        assert len(found) == 1
        stage = found.pop()
        if job.work:
            assert stage == job.work
        made_elsewhere = [path for path in job.inputs if path.startswith("results/")]
        for path in made_elsewhere:  # the order of stages holds
            maker = owner_of(path, owners)
            assert maker == stage or any(path == d or path.startswith(f"{d}/") for d in stages[stage]["deps"])
            assert list(stages).index(maker) <= list(stages).index(stage)


def owner_of(path: str, owners: dict[str, str]) -> str:
    holding = [folder for folder in owners if path == folder or path.startswith(f"{folder}/")]
    assert len(holding) == 1, f"{path} is in {holding}"
    return owners[holding[0]]


def test_shared_runs_have_a_stage_of_their_own_and_no_study_waits_for_another(two_studies: Plan) -> None:
    stages = dvc.dvc_stages(two_studies)
    shared = stages["other2099-yamada2021"]
    folder = "results/paper/models/svhn/resnet18_svhn/yamada2021_svhn"
    assert [list(out) for out in shared["outs"]] == [[f"{folder}/eps0/seed0"]]
    assert shared["cmd"].endswith(f"-- {folder}/eps0/seed0/model.safetensors")
    for work, other in (("other2099", "yamada2021"), ("yamada2021", "other2099")):
        assert f"{folder}/eps0/seed0" in stages[work]["deps"]
        assert f"results/paper/{other}" not in stages[work]["deps"]
    assert {f"{folder}/eps0/seed7": {"persist": True}} in stages["other2099"]["outs"]


@given(st.dictionaries(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), st.booleans()))
def test_a_cover_holds_all_that_it_should_and_nothing_else(chosen: dict[str, bool]) -> None:
    everything = {f"{path}.file" for path in chosen}  # no file is a folder of another one
    files = {f"{path}.file" for path, wanted in chosen.items() if wanted}
    found = dvc.fewest_folders(files, everything)
    held = [[p for p in everything if p == folder or folder == "." or p.startswith(f"{folder}/")] for folder in found]
    assert sorted(path for group in held for path in group) == sorted(files)


# -- for real ----------------------------------------------------------------------------------------------------------


def run(folder: Path, *command: str) -> str:
    """Return what a command of the environment prints in ``folder``; fail if the command fails."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env={**clean, "PATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-3000:]}"
    return done.stdout + done.stderr


def attempt(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in ``folder``, whatever comes of it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**clean, "PATH": path, "OMP_NUM_THREADS": "1", **KEYS}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


#: What an S3 client wants to know; the server of the tests takes any.
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}

#: The files of a run of the study alone, and of the one that it could share.
MODELS = "results/smoke/models/digits_tiny/resnet18_tiny/yamada2021_svhn/eps0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a study of two runs, made by DVC and recorded in Git."""
    project = tmp_path_factory.mktemp("dvc") / "project"
    ignored = shutil.ignore_patterns("__pycache__", ".snakemake", "*.egg-info")
    for name in ("src", "config", "workflow"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in ("Snakefile", ".gitignore", ".dvcignore", "Makefile"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=lambda folder, names: {*names} - {"config", ".gitignore"})
    (project / "profiles").symlink_to("workflow/profiles")
    (project / "resources" / "paper").mkdir(parents=True)
    shutil.copy(ROOT / "resources/paper/liu2020_table_1.csv", project / "resources/paper")
    for study in (project / "config/studies").glob("*.yaml"):
        study.unlink()
    (project / "config/studies/other2099.yaml").write_text(OTHER)
    shutil.rmtree(project / "config/scales/smoke")
    (project / "config/scales/smoke").mkdir()
    (project / "config/scales/smoke/common.yaml").write_text(
        "about: tiny\ndatasets: {svhn: digits_tiny}\narchitectures: {resnet18_svhn: resnet18_tiny}\n"
        'recipes: {"*": {epochs: 1, probe_samples: 8}}\nmeasurements: {"*": {samples: 16}}\n'
        "runs_per_job: 2\ndevice: cpu\n"
    )
    (project / "dvc.yaml").write_text(dvc.dvc_yaml(plan("smoke", project)))
    run(project, "git", "init", "--quiet")
    run(project, "git", "config", "user.name", "someone")
    run(project, "git", "config", "user.email", "someone@example.org")
    run(project, "dvc", "repro")
    assert (project / "results/smoke/report/index.html").exists()
    assert "Nothing to be done" in run(project, "snakemake", "-n", "--config", "scale=smoke")
    assert "didn't change" in run(project, "dvc", "repro", "other2099")
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "-m", "everything")
    assert not [f for f in run(project, "git", "ls-files").splitlines() if f.startswith("results/")]
    return project


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """A server that speaks S3 on this machine; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(300):
                with suppress(OSError):
                    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=10)
                    break
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """A function that gives a clone a remote, as docs/how-to/share-results.md does."""

    def add(folder: Path, url: str, **settings: str) -> None:
        run(folder, "dvc", "remote", "add", "--force", "--local", "--default", "store", url)
        for name, value in {"verify": "true", **settings}.items():
            run(folder, "dvc", "remote", "modify", "--local", "store", name, value)

    if request.param == "folder":
        yield lambda folder: add(folder, str(tmp_path / "remote"))
        return
    if importlib.util.find_spec("dvc_s3") is None:
        pytest.skip('DVC speaks no S3 here: pip install "dvc[s3]" -c requirements/lock.txt')
    if importlib.util.find_spec("moto") is None:
        pytest.skip("there is no server that speaks S3: pip install 'moto[server]'")
    with s3_server(tmp_path) as address:
        yield lambda folder: add(folder, "s3://bucket/robustscape", endpointurl=address)


SHARING = [pytest.mark.slow, pytest.mark.smoke, pytest.mark.timeout(1800), pytest.mark.xdist_group("dvc")]


def with_marks(function: Any) -> Any:
    """The marks of the tests below, which share what DVC has made."""
    for mark in SHARING:
        function = mark(function)
    return function


@with_marks
def test_push_clone_and_pull(made: Path, remote: Callable[[Path], None], tmp_path: Path) -> None:
    """Shared through a remote, fetched in a clone where nothing is left to do."""
    clone = tmp_path / "clone"
    remote(made)
    assert attempt(made, "dvc", "push").returncode == 0
    run(tmp_path, "git", "clone", "--quiet", str(made), str(clone))
    remote(clone)
    pulled = attempt(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    run(clone, "dvc", "status", "--quiet")
    run(clone, "snakemake", "--cores", "1", "--config", "scale=smoke", "--touch", "--forceall")
    assert "Nothing to be done" in run(clone, "snakemake", "-n", "--config", "scale=smoke")
    models = sorted((made / "results/smoke/models").rglob("*.safetensors"))
    assert models
    for path in models:
        assert path.read_bytes() == (clone / path.relative_to(made)).read_bytes()
    scale = clone / "config/scales/smoke/common.yaml"
    scale.write_text(scale.read_text().replace("epochs: 1", "epochs: 2"))
    assert "train_" in run(clone, "snakemake", "-n", "--config", "scale=smoke"), "it sees changes like the original"


@with_marks
def test_part_of_it_and_a_corrupted_object(made: Path, tmp_path: Path) -> None:
    """The data alone are pulled; of an altered object its folder is named, and it does not get there."""
    store = tmp_path / "remote"
    run(made, "dvc", "remote", "add", "--force", "--local", "--default", "store", str(store))
    run(made, "dvc", "push")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(made), str(clone))
    run(clone, "dvc", "remote", "add", "--local", "--default", "store", str(store))
    run(clone, "dvc", "remote", "modify", "--local", "store", "verify", "true")
    run(clone, "dvc", "pull", "data")
    assert (clone / "results/smoke/data/digits_tiny/data.safetensors").exists()
    assert not (clone / "results/smoke/models").exists() and not (clone / "results/smoke/other2099").exists()
    weights = (made / MODELS / "seed7" / "model.safetensors").read_bytes()
    sha = hashlib.md5(weights, usedforsecurity=False).hexdigest()
    victim = store / "files/md5" / sha[:2] / sha[2:]
    assert victim.read_bytes() == weights
    victim.chmod(0o644)
    victim.write_bytes(weights[:-3] + bytes([weights[-3] ^ 1]) + weights[-2:])
    done = attempt(clone, "dvc", "pull")
    assert done.returncode != 0 and "results/smoke/models" in done.stdout + done.stderr, done.stderr
    assert not (clone / MODELS / "seed7" / "model.safetensors").exists()
    victim.write_bytes(weights)
    run(clone, "dvc", "pull")
    assert (clone / MODELS / "seed7" / "model.safetensors").read_bytes() == weights


@with_marks
def test_without_a_record_or_a_remote_a_pull_is_a_sentence(made: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(made), str(clone))
    bin_folder = str(Path(sys.executable).parent)
    (clone / ".venv" / "bin").mkdir(parents=True)
    for name in ("requirements/base.in", "requirements/lock.txt", "pyproject.toml"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).touch()
    (clone / ".venv/.base").touch()  # as if installed, with the packages of this environment

    def pull() -> str:
        done = attempt(clone, "env", f"PATH={bin_folder}:{os.environ['PATH']}", "make", "pull")
        assert done.returncode != 0
        return done.stdout + done.stderr

    assert "dvc remote add --default store" in pull()
    (clone / "dvc.lock").unlink()
    assert "no results are recorded" in pull()
