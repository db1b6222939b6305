"""Rehearsals: everything of `paper` but the content of data, the files of weights and the length of attacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robustscape.config.datasets import DatasetEntry
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.data import load_dataset
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.rehearsal import rehearsed
from robustscape.pipeline.steps.prepare import prepare_dataset
from robustscape.pipeline.steps.train import train_runs
from robustscape.storage.records import read_record

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return rehearsed(load_experiment(CONFIG, "rehearsal"))


def test_other_scales_are_left_as_they_are() -> None:
    small = load_experiment(CONFIG, "small")
    assert rehearsed(small) is small


def test_it_has_every_job_of_paper_with_one_seed(experiment: Experiment, tmp_path: Path) -> None:
    # Jobs of `paper` are smaller, so what they make is compared; weights that are kept are named by their epoch.
    paper = Plan(load_experiment(CONFIG, "paper").with_seeds(1), tmp_path)
    made = {
        scale: {
            output.removeprefix(f"{plan.root}/")
            for job in list_jobs(plan)
            for output in job.outputs
            if "/epoch" not in output
        }
        for scale, plan in (("paper", paper), ("rehearsal", Plan(experiment, tmp_path)))
    }
    assert made["rehearsal"] == made["paper"]


def test_data_keep_their_shape_and_classes(experiment: Experiment) -> None:
    imagenet, words = experiment.datasets["imagenet"], experiment.datasets["speech_commands"]
    assert imagenet.dataset == words.dataset == "random_inputs"
    assert (imagenet.parameters["shape"], imagenet.parameters["classes"]) == ([3, 224, 224], 1000)
    assert (words.parameters["shape"], words.parameters["classes"]) == ([2, 1, 16000], 35)


def test_nothing_asks_for_a_file(experiment: Experiment) -> None:
    for name, entry in experiment.architectures.items():
        assert entry.parameters.get("weights") is None, name
        assert entry.parameters.get("encoder", "random-frozen") == "random-frozen", name


def test_attacks_end_early_and_are_the_same_otherwise(experiment: Experiment) -> None:
    for name, full in load_experiment(CONFIG, "paper").attacks.items():
        short, most = experiment.attacks[name], experiment.scale.rehearsal.steps  # type: ignore[union-attr]
        changed = {key for key, value in full.parameters.items() if short.parameters[key] != value}
        assert changed <= {"steps", "iterations", "queries", "restarts"}, name
        assert all(short.parameters[key] == most for key in changed), name
        assert short.model_copy(update={"parameters": full.parameters}) == full


def test_a_rehearsal_of_a_rehearsal_is_the_same(experiment: Experiment) -> None:
    again = rehearsed(experiment)
    assert {name: entry.parameters for name, entry in again.datasets.items()} == {
        name: entry.parameters for name, entry in experiment.datasets.items()
    }
    assert (again.attacks, again.architectures) == (experiment.attacks, experiment.architectures)


def test_a_data_set_of_unknown_shape_stays_what_it_is(experiment: Experiment) -> None:
    plain = load_experiment(CONFIG, "rehearsal")
    own = DatasetEntry.model_construct(dataset="own", parameters={}, train=None, test=None, pool=1)
    plain.datasets["own"] = own
    try:
        again = rehearsed(plain).datasets
    finally:
        del plain.datasets["own"]
    assert again.pop("own") is own
    assert {entry.dataset for entry in again.values()} == {"random_inputs"}


def test_a_run_is_trained_without_its_data(tmp_path: Path) -> None:
    plan = Plan(load_experiment(CONFIG, "rehearsal"), tmp_path, ["yamada2021"], tmp_path / "none")
    run = next(run for run in plan.runs if run.architecture == "logistic_regression" and run.eps > 0)
    prepare_dataset(plan, run.dataset, plan.downloads)
    train_runs(plan, [run.key], torch.device("cpu"))
    split, _, card = load_dataset(plan.data_folder(run.dataset))
    assert (len(split), card["shape"], card["num_classes"]) == (4, [1, 28, 28], 2)
    assert len(read_record(plan.run_folder(run) / "run.json")["epoch_seconds"]) == 2
