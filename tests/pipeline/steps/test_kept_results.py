"""A result is kept only while everything it was made from, and the result itself, is what its record says (contracts 4, 5)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch

from robustscape.config.experiment import Run
from robustscape.config.loading import load_experiment
from robustscape.errors import CorruptFile
from robustscape.pipeline.jobs import Job, list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.stale import check_item_sources, table_fingerprints
from robustscape.pipeline.steps.evaluate import evaluate_runs
from robustscape.pipeline.steps.prepare import prepare_dataset
from robustscape.pipeline.steps.train import train_runs
from robustscape.storage import atomic
from robustscape.storage.provenance import file_hash
from robustscape.storage.records import csv_is_current, item_is_current, run_is_current, write_csv_with_record

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
STUDY, MEASUREMENT, RECIPE = "yamada2021", "accuracy_mnist2_pgd_l2", "yamada2021_mnist2-pgd_l2"


def plan_below(folder: Path, *changes: tuple[str, str, str]) -> Plan:
    """The plan at the scale smoke of the last configuration in ``folder``, with texts of its files exchanged in a new one."""
    newest = max(folder.glob("config*"), key=lambda path: len(path.name))
    config = newest if not changes else newest.with_name(f"{newest.name}_")
    if changes:
        shutil.copytree(newest, config)
    for file, old, new in changes:
        assert (config / file).read_text().count(old) == 1
        (config / file).write_text((config / file).read_text().replace(old, new))
    return Plan(load_experiment(config, "smoke"), folder / "results", [STUDY])


def two_runs(plan: Plan) -> tuple[Run, Run]:
    """Two runs of one recipe at different eps."""
    first, second = [run for run in plan.runs if run.recipe == RECIPE][:2]
    return first, second


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a data set, two trained runs and one measurement of the first."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "resources").mkdir()
    (folder / "resources" / "paper").symlink_to(ROOT / "resources" / "paper")
    plan = plan_below(folder)
    runs = two_runs(plan)
    prepare_dataset(plan, runs[0].dataset, folder / "downloads")
    train_runs(plan, [run.key for run in runs], CPU)
    measured(plan, runs[0])
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    shutil.copytree(trained, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def measured(plan: Plan, run: Run) -> pd.DataFrame:
    """Measure a run; return the table."""
    evaluate_runs(plan, "evaluate", [f"{STUDY}/{MEASUREMENT}", run.key], CPU)
    return pd.read_csv(plan.measurement_path(STUDY, MEASUREMENT, run))


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder; what was made again differs, for records have times in them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_record(plan: Plan, run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((plan.run_folder(run) / "run.json").read_text())
    return found


# -- runs --------------------------------------------------------------------------------------------------------------


def test_what_is_right_is_kept(project: Path) -> None:
    plan = plan_below(project)
    before = contents(plan.root)
    train_runs(plan, [run.key for run in two_runs(plan)], CPU)
    measured(plan, two_runs(plan)[0])
    assert contents(plan.root) == before


def test_other_data_train_the_run_again(project: Path) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    before, folder = run_record(plan, run), plan.data_folder(run.dataset)
    tensors = safetensors.torch.load_file(folder / "data.safetensors")
    content = safetensors.torch.save({**tensors, "train_y": 1 - tensors["train_y"], "test_y": 1 - tensors["test_y"]})
    (folder / "data.safetensors").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card |= {"sha256": file_hash(folder / "data.safetensors"), "bytes": len(content)}
    (folder / "card.json").write_text(json.dumps(card))
    train_runs(plan, [run.key], CPU)
    after = run_record(plan, run)
    assert after["data"] == card["sha256"] != before["data"]
    assert after["fingerprint"] != before["fingerprint"] and after["checkpoints"] != before["checkpoints"]


@pytest.mark.parametrize("file", ["model.safetensors", "history.csv"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_run_whose_files_are_not_those_of_its_record_is_trained_again(project: Path, file: str, how: str) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    path, before = plan.run_folder(run) / file, contents(plan.run_folder(run))
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    train_runs(plan, [run.key], CPU)
    assert path.read_bytes() == before[file], "the same bits as at first"


def test_weights_of_another_run_beside_a_record_are_refused_and_trained_again(project: Path) -> None:
    plan = plan_below(project)
    run, other = two_runs(plan)
    path, right = plan.run_folder(run) / "model.safetensors", contents(plan.run_folder(run))["model.safetensors"]
    csv = plan.measurement_path(STUDY, MEASUREMENT, run)
    csv.unlink()
    path.write_bytes((plan.run_folder(other) / "model.safetensors").read_bytes())
    with pytest.raises(CorruptFile, match=r"does not belong to the run\.json"):
        measured(plan, run)
    assert not csv.exists()
    train_runs(plan, [run.key], CPU)
    assert path.read_bytes() == right


def test_a_run_in_the_folder_of_another_is_neither_kept_nor_measured(project: Path) -> None:
    plan = plan_below(project)
    run, other = two_runs(plan)
    shutil.rmtree(plan.run_folder(run))
    shutil.copytree(plan.run_folder(other), plan.run_folder(run))
    plan.measurement_path(STUDY, MEASUREMENT, run).unlink()
    with pytest.raises(CorruptFile, match="is the record of the run"):
        measured(plan, run)
    train_runs(plan, [run.key], CPU)
    assert run_record(plan, run)["run"] == run.key


def test_another_recipe_trains_again_and_what_was_measured_is_measured_again(project: Path) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    before = pd.read_csv(plan.measurement_path(STUDY, MEASUREMENT, run))
    plan = plan_below(project, ("recipes/yamada2021_mnist2.yaml", "parameters: {lr: 0.1,", "parameters: {lr: 1e-9,"))
    train_runs(plan, [run.key], CPU)
    after = measured(plan, run)
    assert set(after["checkpoint"]) == {run_record(plan, run)["checkpoints"]["model.safetensors"][:12]}
    assert set(after["checkpoint"]).isdisjoint(before["checkpoint"])
    assert not after["value"].equals(before["value"]), "the stale number did not stay"


def test_the_arithmetic_of_a_scale_trains_again_and_a_record_says_what_was_used(project: Path) -> None:
    exact = plan_below(project)
    run = two_runs(exact)[0]
    assert run_record(exact, run)["precision"] == "fp32"
    rounded = plan_below(project, ("scales/smoke/common.yaml", "runs_per_job:", "precision: tf32\nruns_per_job:"))
    weights = run_record(exact, run)["checkpoints"]
    train_runs(rounded, [run.key], CPU)
    record = run_record(rounded, run)
    assert record["config"]["recipe"]["precision"] == "tf32", "it was trained again"
    assert record["precision"] == "fp32" and record["checkpoints"] == weights, "on a CPU in fp32"


@pytest.mark.parametrize("changed", ["recipe", "data"])
def test_a_run_of_other_configuration_or_data_is_not_measured_and_its_table_not_taken(
    project: Path, changed: str
) -> None:
    """As after a job was killed and its marks deleted: nothing plans the training again, so the step itself must see it."""
    plan = plan_below(project)
    run = two_runs(plan)[0]
    if changed == "recipe":
        plan = plan_below(project, ("recipes/yamada2021_mnist2.yaml", "parameters: {lr: 0.1,", "parameters: {lr: 0.2,"))
    else:
        card = plan.data_folder(run.dataset) / "card.json"
        card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": "0" * 64}))
    for path in (plan.measurement_path(STUDY, MEASUREMENT, run), plan.root / "nothing"):
        with pytest.raises(CorruptFile, match=f"other configuration, code or data than today's.*train {run.key}"):
            measured(plan, run)
        with pytest.raises(CorruptFile, match="other configuration, code or data than today's"):
            table_fingerprints(plan, STUDY, MEASUREMENT)
        path.unlink(missing_ok=True)


def test_an_item_is_not_made_from_a_table_of_other_arguments(project: Path) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    item = next(n for n, i in plan.studies[STUDY].items.items() if MEASUREMENT in [source.of for source in i.rows])
    check_item_sources(plan, STUDY, item)
    other = plan_below(project, ("scales/smoke/common.yaml", "samples: 32, points: 5", "samples: 31, points: 5"))
    with pytest.raises(CorruptFile, match="was made by other configuration, code or runs than today's"):
        check_item_sources(other, STUDY, item)
    measured(other, run)
    check_item_sources(other, STUDY, item)


# -- measurements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gone", "changed", "without a record"])
def test_a_table_that_is_not_the_one_of_its_record_is_made_again(project: Path, how: str) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    csv = plan.measurement_path(STUDY, MEASUREMENT, run)
    right = csv.read_bytes()
    if how == "gone":
        csv.unlink()
    elif how == "changed":
        csv.write_bytes(right.replace(b"percent", b"per cent"))
    else:
        csv.write_bytes(b"")
        csv.with_suffix(".json").unlink()
    measured(plan, run)
    assert csv.read_bytes() == right


def jobs_with_other_fingerprints(one: Plan, other: Plan) -> set[str]:
    def by_name(plan: Plan) -> dict[tuple[str, str], Job]:
        return {(job.stage, job.name): job for job in list_jobs(plan)}

    first, second = by_name(one), by_name(other)
    assert first.keys() == second.keys()
    changed = {key: job for key, job in second.items() if job.fingerprint != first[key].fingerprint}
    return {f"{job.stage} {target}" for job in changed.values() for target in job.targets if target.count("/") <= 1}


def test_a_changed_argument_is_planned_and_measured(project: Path) -> None:
    plan = plan_below(project)
    run = two_runs(plan)[0]
    before = pd.read_csv(plan.measurement_path(STUDY, MEASUREMENT, run))
    stanza = f"{MEASUREMENT}:\n    measure: accuracy\n    runs: [mnist2_clean, mnist2_pgd_l2]\n"
    change = (f"studies/{STUDY}.yaml", stanza, f"{stanza}    weights: last\n")
    other = plan_below(project, change)
    assert f"evaluate {STUDY}/{MEASUREMENT}" in jobs_with_other_fingerprints(plan, other)
    after = measured(other, run)
    assert set(after["weights"]) == {"last"} and set(before["weights"]) == {"selected"}
    scale = ("scales/smoke/common.yaml", "samples: 32, points: 5", "samples: 31, points: 5")
    again = plan_below(project, scale)
    assert f"evaluate {STUDY}/{MEASUREMENT}" in jobs_with_other_fingerprints(other, again)
    samples = measured(again, run)["samples"].dropna()
    assert set(samples) == {31}


def test_an_attacks_parameter_is_planned_where_it_is_read(project: Path) -> None:
    plan = plan_below(project)
    old = "MNIST2, evaluation and landscapes, step 0.15 eps\n  attack: pgd\n  norm: L2\n  parameters: {steps: 100,"
    other = plan_below(project, (f"attacks/{STUDY}.yaml", old, old.replace("100", "99")))
    changed = jobs_with_other_fingerprints(plan, other)
    assert f"evaluate {STUDY}/{MEASUREMENT}" in changed and f"landscape {STUDY}/landscape_mnist2_pgd_l2" in changed
    assert not [name for name in changed if name.startswith(("prepare", "train", "theory"))]


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_table_is_current_with_its_fingerprint_and_its_bytes_only(tmp_path: Path) -> None:
    csv = tmp_path / "m.csv"
    write_csv_with_record(csv, "a\n1\n", {"fingerprint": "f"})
    assert csv_is_current(csv, "f") and not csv_is_current(csv, "g")
    csv.write_text("a\n2\n")
    assert not csv_is_current(csv, "f")
    csv.unlink()
    assert not csv_is_current(csv, "f")


def test_a_run_is_current_with_its_fingerprint_and_all_its_files_only(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("weights")
    (tmp_path / "history.csv").write_text("epoch\n1\n")

    def write(**changes: Any) -> None:
        files = {name: file_hash(tmp_path / name) for name in ("model.safetensors", "history.csv")}
        atomic.write_json(tmp_path / "run.json", {"fingerprint": "f", "files": files, **changes})

    write()
    assert run_is_current(tmp_path, "f") and not run_is_current(tmp_path, "g")
    write(files={})
    assert not run_is_current(tmp_path, "f"), "a record of no files vouches for nothing"
    write()
    (tmp_path / "history.csv").write_text("epoch\n2\n")
    assert not run_is_current(tmp_path, "f")
    (tmp_path / "history.csv").unlink()
    assert not run_is_current(tmp_path, "f")


def test_an_item_is_current_with_its_fingerprint_and_all_its_files_only(tmp_path: Path) -> None:
    files = [tmp_path / "t.csv", tmp_path / "t.md"]
    for file in files:
        file.write_text(file.name)
    record = tmp_path / "t.json"

    def write(fingerprint: str) -> None:
        outputs = [{"path": str(file), "sha256": file_hash(file)} for file in files]
        atomic.write_json(record, {"fingerprint": fingerprint, "outputs": outputs})

    write("f")
    assert item_is_current(record, files, "f") and not item_is_current(record, files, "g")
    assert not item_is_current(record, files[:1], "f")
    files[1].write_text("another")
    assert not item_is_current(record, files, "f")
    files[1].unlink()
    assert not item_is_current(record, files, "f")
