"""The code that a job runs is the code in its fingerprint: the step, what it imports, and what it finds through the catalogue."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.config.experiment import Run
from robustscape.config.loading import load_experiment
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.storage import provenance
from robustscape.storage.provenance import looked_up_kinds, reached_modules

ROOT = Path(__file__).parents[2]

#: Kinds that code looks up by what a stanza or its arguments name; all others, by what the recipe of a run names.
BY_STANZA = {"measurement", "comparison", "theory", "table", "figure", "attack", "precision", "architecture", "dataset"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_experiment(ROOT / "config", "smoke"), Path("results"))


def named_by_recipe(plan: Plan, run: Run, kind: str) -> set[str]:
    """The modules of the functions of a kind that a run's recipe names, found by walking through all of its values."""
    names = set(catalog.catalog_entries(kind))
    recipe = plan.experiment.recipes[run.recipe]
    parts = [recipe, *recipe.phases]
    found = {
        "method": [part.method for part in parts if part.method],
        "optimizer": [part.optimizer.name for part in parts if part.optimizer],
        "probe": [probe.name for probe in recipe.probes.values()],
        "trace": [trace.name for trace in recipe.traces.values()],
    }[kind]
    assert set(found) <= names
    return {catalog.find_entry(kind, name).module for name in found}


def jobs(plan: Plan) -> Iterator[tuple[str, str, set[str], list[Run]]]:
    """Every kind of job: (name, its step, the modules in its fingerprint, the runs it is about)."""
    experiment = plan.experiment
    for run in plan.runs:
        step = "align" if experiment.aligned_runs(run) else "train"
        yield run.key, step, fingerprints.training_modules(experiment, run), [run]
    for work, study in plan.studies.items():
        for name, entry in {**study.measurements, **study.comparisons}.items():
            runs = [planned.run for planned in plan.planned_runs(work, entry)]
            step = "evaluate" if name in study.measurements else "compare"
            modules = fingerprints.measurement_modules(experiment, entry, plan.arguments(work, name), runs)
            yield f"{work}/{name}", step, modules, runs
        for name, check in study.theory.items():
            yield f"{work}/{name}", "theory", fingerprints.theory_modules(check), []
        for name, item in study.items.items():
            yield f"{work}/{name}", "item", fingerprints.item_modules(item), []


def test_the_step_and_all_that_it_finds_by_recipes_are_covered(plan: Plan) -> None:
    steps = set()
    for name, step, modules, runs in jobs(plan):
        covered = reached_modules(*modules)
        assert f"robustscape.pipeline.steps.{step}" in covered, name
        steps.add(step)
        for kind in looked_up_kinds(*modules) - BY_STANZA:
            for run in runs:
                assert named_by_recipe(plan, run, kind) <= covered, f"{name} finds a {kind} that no fingerprint knows"
    assert steps == {"train", "align", "evaluate", "compare", "theory", "item"}


def test_what_an_item_is_made_by_is_covered(plan: Plan) -> None:
    covered = reached_modules(*fingerprints.item_modules(plan.studies["yamada2021"].items["table_1"]))
    assert {"robustscape.claims.checks", "robustscape.report.sources", "robustscape.pipeline.health"} <= covered


def test_what_is_timed_or_trained_again_is_covered(plan: Plan) -> None:
    for measure, kind in (("optimizer_cost", "optimizer"), ("replay", "method")):
        work, name = next(
            (work, name)
            for work, study in plan.studies.items()
            for name, entry in {**study.measurements, **study.comparisons}.items()
            if measure in (getattr(entry, "measure", ""), getattr(entry, "compare", ""))
        )
        study = plan.studies[work]
        entry = study.measurements.get(name) or study.comparisons[name]
        run = plan.planned_runs(work, entry)[0].run
        modules = fingerprints.measurement_modules(plan.experiment, entry, plan.arguments(work, name), [run])
        assert fingerprints.recipe_modules(plan.experiment, run)[kind] <= modules, measure


def test_measurements_that_train_nothing_do_not_depend_on_training(plan: Plan) -> None:
    study = plan.studies["yamada2021"]
    name, entry = next((name, entry) for name, entry in study.measurements.items() if entry.measure == "accuracy")
    run = plan.planned_runs("yamada2021", entry)[0].run
    modules = fingerprints.measurement_modules(plan.experiment, entry, plan.arguments("yamada2021", name), [run])
    assert not any(".training." in module for module in reached_modules(*modules))


#: Runs a step of a tiny run; prints the modules of the package that it imported after planning.
_TRACE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from robustscape.config.loading import load_experiment
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
plan = Plan(load_experiment(Path(sys.argv[1]), "smoke"), Path(sys.argv[2]), ["yamada2021"])
list_jobs(plan)
planned = set(sys.modules)
entry = plan.studies["yamada2021"].measurements["accuracy_mnist2_pgd_l2"]
run = next(p.run for p in plan.planned_runs("yamada2021", entry) if p.run.eps > 0)
cpu = torch.device("cpu")
if sys.argv[3] == "train":
    from robustscape.pipeline.steps.prepare import prepare_dataset
    prepare_dataset(plan, run.dataset, Path(sys.argv[2]))
    planned |= {m for m in sys.modules if "data" in m or m.endswith("prepare")}
    from robustscape.pipeline.steps.train import train_runs
    train_runs(plan, [run.key], cpu)
else:
    from robustscape.pipeline.steps.evaluate import evaluate_runs
    evaluate_runs(plan, "evaluate", ["yamada2021/accuracy_mnist2_pgd_l2", run.key], cpu)
print(run.key)
print(*sorted(m for m in set(sys.modules) - planned if m.startswith("robustscape.")))
"""


def test_what_a_step_imports_is_covered(plan: Plan, tmp_path: Path) -> None:
    """Train and measure a run, each in a process of its own: no module was imported that is not in the fingerprint."""
    entry = plan.studies["yamada2021"].measurements["accuracy_mnist2_pgd_l2"]
    for step in ("train", "evaluate"):
        done = subprocess.run(
            [sys.executable, "-c", _TRACE, str(ROOT / "config"), str(tmp_path), step],
            env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        key, imported = done.stdout.strip().splitlines()[-2:]
        (run,) = plan.find_runs([key])
        modules = (
            fingerprints.training_modules(plan.experiment, run)
            if step == "train"
            else fingerprints.measurement_modules(
                plan.experiment, entry, plan.arguments("yamada2021", "accuracy_mnist2_pgd_l2"), [run]
            )
        )
        covered = reached_modules(*modules) | provenance._PLUMBING
        assert f"robustscape.pipeline.steps.{step}" in imported.split()
        assert set(imported.split()) <= covered, step
