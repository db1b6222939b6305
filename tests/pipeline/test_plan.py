"""The jobs of the plan: named by their commands, complete, and made without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.cli.run import STEPS
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Recipe
from robustscape.errors import ConfigError
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps.claims import judge_claims
from robustscape.pipeline.steps.evaluate import evaluate_runs
from robustscape.pipeline.steps.report import write_report
from robustscape.report.words import NOT_MADE
from robustscape.storage.records import write_csv_with_record
from robustscape.storage.run_files import EVERY_RUN

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def smoke() -> Plan:
    return Plan(load_experiment(ROOT / "config", "smoke"), Path("results"))


def test_a_job_is_a_call_of_the_command_of_its_stage(smoke: Plan) -> None:
    jobs = list_jobs(smoke)
    assert {job.stage for job in jobs} == set(STEPS)
    assert all(job.arguments == (job.stage, *job.targets) and job.targets for job in jobs)
    names = [(job.stage, job.name) for job in jobs]
    assert len(set(names)) == len(names)
    assert all(job.name.replace("_", "").isalnum() for job in jobs if job.stage != "prepare")


def test_every_job_comes_after_those_that_make_what_it_reads(smoke: Plan) -> None:
    made: set[str] = set()
    for job in list_jobs(smoke):
        missing = [path for path in job.inputs if path not in made and path.startswith("results/")]
        assert not missing, f"{job.stage} {job.name}"
        made |= set(job.outputs)


def test_items_of_a_file_of_a_study_wait_for_runs_of_no_other_file() -> None:
    """A chapter of a thesis is a target; its tables must not train the nets of others."""
    plan = Plan(load_experiment(ROOT / "config", "small"), Path("results"))
    for study in plan.studies.values():
        assert sorted(name for items in study.parts.values() for name in items) == sorted(study.items)
    of_part = {
        f"{work}/{name}": part for work, s in plan.studies.items() for part, items in s.parts.items() for name in items
    }
    jobs = [job for job in list_jobs(plan) if job.stage == "item"]
    assert all(len({of_part[target] for target in job.targets}) == 1 for job in jobs)
    assert len({of_part[target] for target in of_part if target.startswith("ma2025/")}) == 5


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_somebody_waits_for_every_file_whose_name_a_recipe_says(scale: str) -> None:
    """Snakemake sees no change of a job that has an output without a record, unless that output is missed by another job.

    With other epochs ``keep`` names other files: the run was not planned again, and its measurements refused the old weights.
    """
    jobs = list_jobs(Plan(load_experiment(ROOT / "config", scale), Path("results")))
    awaited = {path for job in jobs for path in job.inputs}
    named = {path for job in jobs if job.stage == "train" for path in job.outputs if Path(path).name not in EVERY_RUN}
    assert any("/epoch" in path for path in named)
    assert named <= awaited


def test_planning_imports_neither_torch_nor_the_steps() -> None:
    code = (
        "import sys; import robustscape.pipeline.jobs, robustscape.pipeline.dvc, robustscape.cli.main as cli;"
        "cli.build_parser();"
        "sys.exit(any(m == 'torch' or m.startswith('robustscape.pipeline.steps') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_a_curve_has_two_ends_however_few_seeds_a_scale_allows(scale: str) -> None:
    plan = Plan(load_experiment(ROOT / "config", scale), Path("results"))
    curves = [
        group
        for work, study in plan.studies.items()
        for name, entry in study.comparisons.items()
        if entry.compare == "bezier"
        for group in plan.groups(work, name)
    ]
    assert curves and all(len(group.runs) == 2 for group in curves)


def test_a_measurement_is_made_by_one_command_only(smoke: Plan) -> None:
    import torch

    work, name = next(
        (work, name)
        for work, study in smoke.studies.items()
        for name, entry in study.measurements.items()
        if ".landscape." in catalog.find_entry("measurement", entry.measure).module
    )
    run = smoke.planned_runs(work, smoke.studies[work].measurements[name])[0].run.key
    with pytest.raises(ConfigError, match="use `landscape`"):
        evaluate_runs(smoke, "evaluate", [f"{work}/{name}", run], torch.device("cpu"))
    with pytest.raises(ConfigError, match="allowed is WORK/MEASUREMENT"):
        evaluate_runs(smoke, "evaluate", [run], torch.device("cpu"))
    with pytest.raises(ConfigError, match="got no run after"):
        evaluate_runs(smoke, "landscape", [f"{work}/{name}"], torch.device("cpu"))


def test_unknown_targets_are_named_with_what_there_is(smoke: Plan) -> None:
    assert smoke.find_target("items", "yamada2021/table_1") == ("yamada2021", "table_1")
    with pytest.raises(ConfigError, match=r"unknown item of yamada2021 'table_11'\. Did you mean 'table_1'"):
        smoke.find_target("items", "yamada2021/table_11")
    with pytest.raises(ConfigError, match=r"Allowed: .*yamada2021/\.\.\."):
        smoke.find_target("items", "table_1")
    with pytest.raises(ConfigError, match="unknown run 'a/b'"):
        smoke.find_runs(["a/b"])


def test_a_runs_files_are_those_its_recipe_leaves(smoke: Plan) -> None:
    for run in smoke.runs:
        recipe: Recipe = smoke.experiment.recipes[run.recipe]
        assert ("updates.csv" in smoke.run_files(run)) == bool(recipe.traces)
        assert {"model.safetensors", "last.safetensors", "run.json", "history.csv"} <= set(smoke.run_files(run))
        assert ("as_trained.safetensors" in smoke.run_files(run)) == bool(recipe.recalibrate)


def test_one_work_leaves_the_others_in_the_claims_and_the_report(tmp_path: Path) -> None:
    """`robustscape run yamada2021` after a run of all works, or of another, whose items may be of another configuration."""
    plan = Plan(load_experiment(ROOT / "config", "small"), tmp_path, ["yamada2021"])
    assert {row["work"] for row in judge_claims(plan)} == {"yamada2021"}
    name = "ensembles"  # its claims name levels that these rows do not have
    write_csv_with_record(plan.item_path("liu2020", name), "metric,value\n", {"command": "robustscape item"})
    assert list(plan.with_made_works().studies) == [
        w for w in plan.experiment.studies if w in ("liu2020", "yamada2021")
    ]
    rows = judge_claims(plan)
    assert {row["work"] for row in rows} == {"yamada2021", "liu2020"}
    assert {row["verdict"] for row in rows if row["item"] == name} == {NOT_MADE}
    plan.item_path("liu2020", name).unlink()
    write_report(plan)
    assert "yamada2021-table_1" in plan.report_path.read_text(encoding="utf-8")
