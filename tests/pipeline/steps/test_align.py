"""Runs that start from another run's weights: what they read is planned before them, in their fingerprint and their record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robustscape import catalog
from robustscape.cli.main import main
from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError, CorruptFile
from robustscape.pipeline import fingerprints
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.stale import current_run_record
from robustscape.pipeline.steps.align import align_runs
from robustscape.pipeline.steps.evaluate import evaluate_runs
from robustscape.pipeline.steps.prepare import prepare_dataset
from robustscape.pipeline.steps.train import train_runs
from robustscape.storage.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")

STUDY = """\
work: aligned
title: Aligned
reference: a test
runs:
  nets:
    - {dataset: digits_tiny, architecture: tiny_mlp, recipe: nets-a, eps: [0], seeds: [0]}
    - {dataset: digits_tiny, architecture: tiny_mlp, recipe: nets-a, eps: [0], seeds: [2]}
    - {dataset: digits_tiny, architecture: wide_mlp, recipe: nets-b, eps: [0], seeds: [2]}
  aligned:
    - {dataset: digits_tiny, architecture: tiny_mlp, recipe: align-a, eps: [0], seeds: [0, 1]}
measurements:
  accuracy: {measure: weight_norm, runs: [nets, aligned]}
items:
  table_1:
    title: Norms
    kind: table
    draw: grid
    options: {index: [recipe, seed]}
    rows: [{of: accuracy}]
    factors: [recipe, seed]
"""

FILES = {
    "recipes/nets.yaml": (
        "method: standard\noptimizer: {name: sgd, parameters: {lr: 0.1}}\nepochs: 2\nbatch_size: 50\n"
        "variants: {a: {}, b: {}}\n"
    ),
    "recipes/align.yaml": (
        "method: alignment\n"
        "parameters: {nets: nets, source: a, witness: b, witness_seeds: [2], distance: hint}\n"
        "optimizer: {name: clipped_sgd, parameters: {lr: 0.001, momentum: 0.9, warmup: 0.3}}\nepochs: 2\nbatch_size: 50\n"
        "variants: {a: {}}\n"
    ),
    "architectures.yaml": (
        "tiny_mlp: {architecture: mlp, parameters: {hidden: [8]}}\n"
        "wide_mlp: {architecture: mlp, parameters: {hidden: [12]}}\n"
    ),
}

MakePlan = Callable[..., Plan]


@pytest.fixture
def make_plan(tmp_path: Path) -> Iterator[MakePlan]:
    """The plan of the study at the scale smoke; texts of its files exchanged."""
    count = iter(range(100))

    def make(*changes: tuple[str, str]) -> Plan:
        folder = tmp_path / f"mine{next(count)}" / "config"
        files = {**FILES, "studies/aligned.yaml": STUDY}
        for old, new in changes:
            assert any(old in text for text in files.values())
            files = {name: text.replace(old, new) for name, text in files.items()}
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        catalog.use_plugins(folder.parent)
        return Plan(load_experiment(ROOT / "config", "smoke"), tmp_path / "results", ["aligned"])

    yield make
    catalog.use_plugins(None)


def keys(plan: Plan, recipe: str) -> list[str]:
    return [run.key for run in plan.runs if run.recipe == recipe]


def make_nets(plan: Plan, folder: Path) -> None:
    prepare_dataset(plan, "digits_tiny", folder / "downloads")
    train_runs(plan, [*keys(plan, "nets-a"), *keys(plan, "nets-b")], CPU)


def test_an_aligned_run_starts_from_its_source_and_reads_its_witness(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan()
    make_nets(plan, tmp_path)
    (key,) = keys(plan, "align-a")
    source = load_checkpoint(plan.root / "models" / keys(plan, "nets-a")[0] / "model.safetensors")[0]
    align_runs(plan, [key], CPU)
    folder = plan.root / "models" / key
    record, health = (json.loads((folder / name).read_text()) for name in ("run.json", "health.json"))
    assert list(record["aligned"]) == [keys(plan, "nets-a")[0], keys(plan, "nets-b")[0]]
    assert [one["recipe"]["name"] for one in record["config"]["aligned"]] == ["nets-a", "nets-b"]
    tensors = load_checkpoint(folder / "model.safetensors")[0]
    assert set(tensors) == set(source), "neither a witness nor a map between embeddings is kept"
    moved = {name: float((tensors[name] - source[name]).norm() / source[name].norm()) for name in tensors}
    assert 0 < max(moved.values()) < 1, "fine-tuned from the source, not trained anew"
    assert (folder / "history.csv").read_text().count("\n") == 3 and health["diverged"] is False
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    align_runs(plan, [key], CPU)
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}, "a second time nothing is done"
    assert not (plan.root / "states" / f"{key}.safetensors").exists()


def test_an_aligned_run_is_measured_until_what_it_read_changes(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan()
    make_nets(plan, tmp_path)
    (key,) = keys(plan, "align-a")
    align_runs(plan, [key], CPU)
    evaluate_runs(plan, "evaluate", ["aligned/accuracy", key], CPU)
    (run,) = plan.find_runs([key])
    assert plan.measurement_path("aligned", "accuracy", run).exists()
    assert current_run_record(plan, run)["run"] == key
    source = plan.root / "models" / keys(plan, "nets-a")[0] / "run.json"
    record = json.loads(source.read_text())
    record["checkpoints"]["model.safetensors"] = "0" * 64
    source.write_text(json.dumps(record))
    with pytest.raises(CorruptFile, match="was trained by other configuration, code or data"):
        current_run_record(plan, run)


def test_what_is_read_is_made_before_and_counts(make_plan: MakePlan) -> None:
    plan = make_plan()
    jobs = [job for job in list_jobs(plan) if job.stage == "train"]
    aligned = next(job for job in jobs if keys(plan, "align-a")[0] in job.targets)
    for key in (keys(plan, "nets-a")[0], keys(plan, "nets-b")[0]):
        path = f"{plan.root}/models/{key}/model.safetensors"
        assert path in aligned.inputs
        assert any(path in job.outputs for job in jobs if job is not aligned)
    run = plan.find_runs(keys(plan, "align-a"))[0]
    before = fingerprints.run_fingerprint(plan.experiment, run)
    other = make_plan(("variants: {a: {}, b: {}}", "variants: {a: {}, b: {optimizer.parameters.lr: 0.2}}"))
    assert fingerprints.run_fingerprint(other.experiment, run) != before, "a witness that is trained otherwise counts"
    source = plan.find_runs(keys(plan, "nets-a"))[0]
    assert fingerprints.run_fingerprint(other.experiment, source) == fingerprints.run_fingerprint(
        plan.experiment, source
    )


def test_an_interrupted_alignment_goes_on_bit_for_bit(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustscape.pipeline.steps import align

    plan = make_plan()
    make_nets(plan, tmp_path)
    (key,) = keys(plan, "align-a")
    folder, train = plan.root / "models" / key, align.loop.train
    align_runs(plan, [key], CPU)
    whole = load_checkpoint(folder / "model.safetensors")[0]
    for file in folder.iterdir():
        file.unlink()

    def killed(*arguments: object, **settings: object) -> object:
        train(*arguments, **settings, until=1)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(align.loop, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        align_runs(plan, [key], CPU)
    assert (plan.root / "states" / f"{key}.safetensors").exists()
    monkeypatch.setattr(align.loop, "train", train)
    align_runs(plan, [key], CPU)
    again = load_checkpoint(folder / "model.safetensors")[0]
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("witness: b", "witness: c"),
            "reads a run of recipe 'nets-c' on 'digits_tiny' with seed 2, which is not among",
        ),
        (("witness_seeds: [2]", "witness_seeds: [7]"), "with seed 7, which is not among the runs"),
        (("source: a", "source: b, source_seed: 2"), "so architecture must be 'wide_mlp', got 'tiny_mlp'"),
        (
            (
                "architecture: wide_mlp, recipe: nets-b, eps: [0], seeds: [2]}",
                "architecture: wide_mlp, recipe: nets-b, "
                "eps: [0], seeds: [2]}\n    - {dataset: digits_tiny, architecture: tiny_mlp, recipe: nets-b, eps: [0], "
                "seeds: [2]}",
            ),
            "which is that of 2 runs",
        ),
    ],
)
def test_a_net_that_is_not_there_is_a_sentence(make_plan: MakePlan, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=r"runs 'aligned'") as caught:
        make_plan(change)
    assert message in str(caught.value)


def test_the_command_trains_all_three_kinds(
    make_plan: MakePlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan()
    prepare_dataset(plan, "digits_tiny", tmp_path / "downloads")
    every = [*keys(plan, "align-a"), *keys(plan, "nets-a"), *keys(plan, "nets-b")]
    folder = catalog.plugins()[0].folder
    options = ["--config", str(ROOT / "config"), "--scale", "smoke", "--results", str(tmp_path / "results")]
    assert main([*options, "--plugins", str(folder), "train", *every]) in (0, None)
    assert all((plan.root / "models" / key / "run.json").exists() for key in every)


def test_other_recipes_read_nothing(make_plan: MakePlan) -> None:
    plan = make_plan()
    run = plan.find_runs(keys(plan, "nets-a"))[0]
    assert plan.experiment.aligned_runs(run) == ()
    assert "aligned" not in plan.experiment.run_config(run)
    assert "align" not in " ".join(fingerprints.training_modules(plan.experiment, replace(run)))
