"""``dvc.yaml`` is the plan, cut by studies. ``tests/workflow/test_shared_results.py`` runs DVC."""

from __future__ import annotations

import shutil
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
