"""What the step hands to the training loop: weights drawn from the run's seed, its own eps, seed, data and attacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from robustscape.config.experiment import Run
from robustscape.config.loading import load_experiment
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps import train
from robustscape.pipeline.steps.prepare import prepare_dataset

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


class Stopped(Exception):
    """Raised in place of training."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("project")
    plan = Plan(load_experiment(ROOT / "config", "smoke"), folder, ["yamada2021"])
    for name in {a_run(plan).dataset, "digits2_tiny"}:
        prepare_dataset(plan, name, folder / "downloads")
    return plan


def a_run(plan: Plan) -> Run:
    return next(run for run in plan.runs if run.recipe == "yamada2021_svhn-pgd")


def handed_over(plan: Plan, run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of the training loop for a run, and the weights at its start."""
    found: dict[str, Any] = {}

    def loop_train(model: Any, *arguments: Any, **more: Any) -> Any:
        names = ("train", "test", "recipe", "attacks", "eps", "seed")
        found.update(zip(names, arguments, strict=True), **more)
        found["weights"] = torch.cat([p.detach().flatten() for p in model.parameters()])
        raise Stopped

    monkeypatch.setattr(train.loop, "train", loop_train)
    with pytest.raises(Stopped):
        train._train_run(plan, run, CPU)
    return found


def test_weights_depend_on_the_seed_and_not_on_eps_or_recipe(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(plan)
    first = handed_over(plan, run, monkeypatch)["weights"]
    torch.manual_seed(12345)
    assert torch.equal(first, handed_over(plan, run, monkeypatch)["weights"])
    for same in (replace(run, eps=run.eps / 2), replace(run, recipe="yamada2021_svhn")):
        assert torch.equal(first, handed_over(plan, same, monkeypatch)["weights"]), "compared runs start alike"
    other = handed_over(plan, replace(run, seed=run.seed + 1), monkeypatch)["weights"]
    assert (first != other).float().mean() > 0.5


def test_the_loop_gets_the_runs_own(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(a_run(plan), seed=5, eps=0.07)
    found = handed_over(plan, run, monkeypatch)
    assert (found["eps"], found["seed"]) == (0.07, 5)
    assert found["recipe"] == plan.experiment.recipes[run.recipe]
    assert found["attacks"] == {
        name: plan.experiment.attacks[name] for name in ("yamada2021_svhn_train", "yamada2021_svhn_test")
    }
    size = plan.experiment.datasets[run.dataset]
    assert (len(found["train"].y), len(found["test"].y)) == (size.train, size.test)
    fingerprints = {
        handed_over(plan, one, monkeypatch)["fingerprint"]
        for one in (run, replace(run, seed=6), replace(run, eps=0.08))
    }
    assert len(fingerprints) == 3
