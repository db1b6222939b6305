"""``dvc.yaml`` is the plan, cut by studies; and DVC, Git and Snakemake agree on what is up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.slow
@pytest.mark.smoke
@pytest.mark.timeout(1800)
def test_reproduce_push_clone_and_pull(tmp_path: Path) -> None:
    """A study of two runs: made by DVC, shared through a folder, fetched in a clone where nothing is left to do."""
    project, clone, remote = tmp_path / "project", tmp_path / "clone", tmp_path / "remote"
    ignored = shutil.ignore_patterns("__pycache__", ".snakemake", "*.egg-info")
    for name in ("src", "config", "workflow"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in ("Snakefile", ".gitignore", ".dvcignore"):
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
    run(project, "dvc", "remote", "add", "--local", "--default", "store", str(remote))
    run(project, "dvc", "push")

    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    run(clone, "dvc", "remote", "add", "--local", "--default", "store", str(remote))
    run(clone, "dvc", "pull")
    run(clone, "dvc", "status", "--quiet")
    run(clone, "snakemake", "--cores", "1", "--config", "scale=smoke", "--touch", "--forceall")
    assert "Nothing to be done" in run(clone, "snakemake", "-n", "--config", "scale=smoke")
    for path in sorted((project / "results/smoke/models").rglob("*.safetensors")):
        assert path.read_bytes() == (clone / path.relative_to(project)).read_bytes()
    scale = clone / "config/scales/smoke/common.yaml"
    scale.write_text(scale.read_text().replace("epochs: 1", "epochs: 2"))
    assert "train_" in run(
        clone, "snakemake", "-n", "--config", "scale=smoke"
    )  # the clone sees changes like the original
