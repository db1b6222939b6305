"""Runs whose weights come from outside: taken over, hashed, judged by the same rule, measured beside trained ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from robustscape import catalog
from robustscape.cli.main import main
from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError, UserError
from robustscape.models import build_classifier
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps.evaluate import evaluate_runs
from robustscape.pipeline.steps.item import make_items
from robustscape.pipeline.steps.outside import take_over_runs
from robustscape.pipeline.steps.prepare import prepare_dataset
from robustscape.pipeline.steps.train import train_runs

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")

STUDY = """\
work: beside
title: Theirs beside ours
reference: a test
runs:
  ours: [{dataset: digits_tiny, architecture: tiny_mlp, recipe: plain_ours, eps: [0]}]
  theirs: [{dataset: digits_tiny, architecture: tiny_mlp, recipe: theirs, checkpoint: "WEIGHTS", eps: [0.05]}]
measurements:
  accuracy: {measure: accuracy, runs: [ours, theirs], parameters: {attack: pgd20, eps: 0.05, samples: 40}}
items:
  table_1:
    title: Accuracy
    kind: table
    draw: grid
    options: {index: [recipe]}
    rows: [{of: accuracy}]
    factors: [recipe]
    metrics: [robust_test_accuracy]
"""

FILES = {
    "recipes/plain_ours.yaml": "method: standard\noptimizer: {name: sgd, parameters: {lr: 0.1}}\nepochs: 1\nbatch_size: 50\n",
    "architectures.yaml": "tiny_mlp: {architecture: mlp, parameters: {hidden: [8]}}\n",
    "attacks/own.yaml": "pgd_of_the_test: {attack: pgd, parameters: {steps: 2, step_size: 0.05}}\n",
}

MakePlan = Callable[..., Plan]


def net(hidden: int = 8, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_classifier("mlp", {"hidden": [hidden]}, (1, 8, 8), 10, [0.5], [0.5])


@pytest.fixture
def make_plan(tmp_path: Path) -> Iterator[MakePlan]:
    """The plan of the study with a file of weights, at the scale smoke; texts of the study exchanged."""
    count = iter(range(100))

    def make(weights: Path | str, *changes: tuple[str, str]) -> Plan:
        folder = tmp_path / f"mine{next(count)}" / "config"
        study = STUDY.replace("WEIGHTS", str(weights)).replace("pgd20", "pgd_of_the_test")
        for old, new in changes:
            assert old in study
            study = study.replace(old, new)
        for name, text in {**FILES, "studies/beside.yaml": study}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        catalog.use_plugins(folder.parent)
        return Plan(load_experiment(ROOT / "config", "smoke"), tmp_path / "results", ["beside"])

    yield make
    catalog.use_plugins(None)


def outside_key(plan: Plan) -> str:
    return next(run.key for run in plan.runs if run.recipe == "theirs")


def test_weights_from_outside_are_measured_beside_trained_ones(make_plan: MakePlan, tmp_path: Path) -> None:
    model = net()
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.net.state_dict().items()}}, tmp_path / "theirs.pt")  # type: ignore[attr-defined]
    plan = make_plan(tmp_path / "theirs.pt")
    assert outside_key(plan) == "digits_tiny/tiny_mlp/theirs/eps0.05/seed0"
    ours = next(run for run in plan.runs if run.recipe == "plain_ours")
    prepare_dataset(plan, "digits_tiny", tmp_path / "downloads")
    train_runs(plan, [ours.key], CPU)
    take_over_runs(plan, [outside_key(plan)], CPU)
    folder = plan.root / "models" / outside_key(plan)
    record, health = (json.loads((folder / name).read_text()) for name in ("run.json", "health.json"))
    assert "theirs.pt, SHA-256" in record["source"] and "stripped 'module.'" in " ".join(record["notes"])
    assert record["config"]["recipe"]["checkpoint"] == plan.experiment.checkpoints["theirs"].sha256
    assert health["trained_here"] is False and 0 <= health["clean_accuracy"] < 40, "weights that nobody trained"
    for run in plan.runs:
        evaluate_runs(plan, "evaluate", ["beside/accuracy", run.key], CPU)
    make_items(plan, ["beside/table_1"])
    table = pd.read_csv(plan.item_path("beside", "table_1")).set_index("recipe")
    assert set(table.index) == {"plain_ours", "theirs"}
    assert table.loc["theirs", "stand_in"] == "weights from outside (theirs.pt) for training here"
    # A second time nothing is done.
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    take_over_runs(plan, [outside_key(plan)], CPU)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_the_run_answers_as_the_net_does(make_plan: MakePlan, tmp_path: Path) -> None:
    """Weights of the net alone, and of the net with its normalisation, as runs of this project have them."""
    from robustscape.evaluation.trained_run import load_run

    model = net(seed=3)
    answers = []
    for name, tensors in (("net", model.net.state_dict()), ("all", model.state_dict())):  # type: ignore[attr-defined]
        save_file(tensors, tmp_path / f"{name}.safetensors")
        plan = make_plan(tmp_path / f"{name}.safetensors", ("recipe: theirs", f"recipe: of_{name}"))
        prepare_dataset(plan, "digits_tiny", tmp_path / "downloads")
        (run,) = [run for run in plan.runs if run.recipe == f"of_{name}"]
        take_over_runs(plan, [run.key], CPU)
        for weights in ("selected", "last"):
            loaded = load_run(plan.run_folder(run), plan.data_folder(run.dataset), CPU, weights)
            answers.append(loaded.model.net(torch.ones(2, 1, 8, 8)))  # type: ignore[attr-defined, operator]
    for answer in answers:
        torch.testing.assert_close(answer, model.net(torch.ones(2, 1, 8, 8)))  # type: ignore[attr-defined, operator]


def test_other_weights_plan_the_run_and_its_measurements_again(make_plan: MakePlan, tmp_path: Path) -> None:
    def fingerprints() -> dict[str, str]:
        return {job.name: job.fingerprint for job in list_jobs(make_plan(tmp_path / "theirs.safetensors"))}

    save_file(net().state_dict(), tmp_path / "theirs.safetensors")
    before = fingerprints()
    save_file(net(seed=1).state_dict(), tmp_path / "theirs.safetensors")
    after = fingerprints()
    changed = {name for name in after if after[name] != before[name]}
    assert len([name for name in changed if "outside" in name]) == 1
    assert not any("plain" in name or name == "digits_tiny" for name in changed)


def test_weights_that_do_not_fit_are_refused(make_plan: MakePlan, tmp_path: Path) -> None:
    save_file(net(hidden=9).state_dict(), tmp_path / "theirs.safetensors")
    plan = make_plan(tmp_path / "theirs.safetensors")
    prepare_dataset(plan, "digits_tiny", tmp_path / "downloads")
    with pytest.raises(UserError, match="does not fit the model"):
        take_over_runs(plan, [outside_key(plan)], CPU)
    assert not (plan.root / "models" / outside_key(plan) / "run.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "recipe: theirs",
            "recipe: plain_ours",
            "recipe 'plain_ours' trains nets; give the checkpoint a name of its own",
        ),
        ("eps: [0.05]", "eps: [0.05, 0.1]", "a checkpoint is one run"),
        ("recipe: theirs", "recipe: [theirs, others]", "a checkpoint is one run"),
        ("measure: accuracy", "measure: history", "reads the logs of training, which the checkpoints of runs 'theirs'"),
        (
            "theirs.safetensors",
            "nowhere.safetensors",
            "checkpoint got '.*nowhere.safetensors', which cannot be read: No such",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(
    make_plan: MakePlan, tmp_path: Path, old: str, new: str, message: str
) -> None:
    save_file(net().state_dict(), tmp_path / "theirs.safetensors")
    changes = [(old, new)]
    if "history" in new:
        changes.append((", parameters: {attack: pgd_of_the_test, eps: 0.05, samples: 40}", ""))
    with pytest.raises(ConfigError, match=message):
        make_plan(tmp_path / "theirs.safetensors", *changes)


def test_the_command_takes_weights_over(make_plan: MakePlan, tmp_path: Path) -> None:
    save_file(net().state_dict(), tmp_path / "theirs.safetensors")
    plan = make_plan(tmp_path / "theirs.safetensors")
    words = ["--plugins", str(catalog.plugins()[0].folder), "--config", str(ROOT / "config"), "--scale", "smoke"]
    words += ["--results", str(plan.root.parent), "--device", "cpu", "--threads", "1"]
    assert main([*words, "prepare", "digits_tiny"]) == 0
    assert main([*words, "train", outside_key(plan)]) == 0
    assert (plan.root / "models" / outside_key(plan) / "run.json").exists()
