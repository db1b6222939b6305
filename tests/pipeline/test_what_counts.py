"""What a fingerprint counts: every number that identifies a run, and the module of every function that its recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.experiment import Experiment, Run, recipe_attacks
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Recipe
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_experiment(CONFIG, "paper"), Path("results"))


def a_run(plan: Plan, recipe: str = "yamada2021_cifar10-pgd") -> Run:
    return next(run for run in plan.runs if run.recipe == recipe)


def with_recipe(experiment: Experiment, name: str, **changes: Any) -> Experiment:
    recipe = experiment.recipes[name].model_copy(update=changes)
    return replace(experiment, recipes={**experiment.recipes, name: recipe})


@pytest.mark.parametrize(
    "change",
    [{"eps": 0.123}, {"seed": 17}, {"dataset": "svhn"}, {"architecture": "resnet18_raw"}],
    ids=lambda change: next(iter(change)),
)
def test_what_identifies_a_run_counts(plan: Plan, change: dict[str, Any]) -> None:
    run = a_run(plan)
    first = fingerprints.run_fingerprint(plan.experiment, run)
    assert first == fingerprints.run_fingerprint(plan.experiment, replace(run))
    assert first != fingerprints.run_fingerprint(plan.experiment, replace(run, **change))


#: Key of a recipe -> another value; the keys that are not here change nothing in how it trains.
KEYS: dict[str, Any] = {
    "method": "standard",
    "parameters": {"beta": 3.0},
    "attack": "yamada2021_svhn_train",
    "eps_schedule": {"kind": "linear"},
    "optimizer": {"name": "sgd", "parameters": {"lr": 0.3}},
    "lr_schedule": {"kind": "linear"},
    "phases": [{"at": 0.5, "method": "standard"}],
    "epochs": 3,
    "batch_size": 3,
    "augmentation": {"crop": 3},
    "recalibrate": 3,
    "probes": {},
    "traces": {"norm": {"name": "gradient_norm"}},
    "traced_updates": {"last": 3},
    "keep": [0.3],
    "keep_collapse": {"probe": "robust_test_accuracy", "share": 0.2},
    "if_diverged": "record",
    "select": "last",
    "precision": "bf16",
    "memory_format": "contiguous",
}
IDLE = {"about", "extends", "variants", "factors"}


def test_every_key_of_a_recipe_is_tried_here() -> None:
    assert IDLE | set(KEYS) == set(Recipe.model_fields)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_that_trains_counts(plan: Plan, key: str) -> None:
    run, experiment = a_run(plan), plan.experiment
    changed = Recipe.model_validate(
        {
            "method": "trades",
            "optimizer": {"name": "sgd", "parameters": {"lr": 1}},
            "epochs": 1,
            "probes": {"robust_test_accuracy": {"name": "accuracy", "parameters": {"split": "test"}}},
            key: KEYS[key],
        }
    )
    value = getattr(changed, key)
    assert value != getattr(experiment.recipes[run.recipe], key)
    other = with_recipe(experiment, run.recipe, **{key: value})
    assert fingerprints.run_fingerprint(experiment, run) != fingerprints.run_fingerprint(other, run)


@pytest.mark.parametrize("key", sorted(IDLE))
def test_remarks_and_names_do_not(plan: Plan, key: str) -> None:
    run, experiment = a_run(plan), plan.experiment
    value: Any = {"about": "a remark", "extends": "other", "variants": {"v": {}}, "factors": {"method": "AT"}}[key]
    other = with_recipe(experiment, run.recipe, **{key: value})
    assert fingerprints.run_fingerprint(experiment, run) == fingerprints.run_fingerprint(other, run)


@pytest.mark.parametrize("used_as", ["attack", "probe"])
def test_every_parameter_of_an_attack_that_a_recipe_names_counts(plan: Plan, used_as: str) -> None:
    run, experiment = a_run(plan), plan.experiment
    recipe = experiment.recipes[run.recipe]
    probed = recipe.probes["robust_test_accuracy"].parameters["attack"]
    name = recipe.attack if used_as == "attack" else probed
    assert name is not None and recipe.attack != probed
    spec = experiment.attacks[name]
    for change in (
        {"parameters": {**spec.parameters, "steps": 99}},
        {"norm": "L2"},
        {"bounds": None},
        {"model_mode": "eval" if spec.model_mode == "train" else "train"},
        {"attack": "bim"},
    ):
        other = replace(experiment, attacks={**experiment.attacks, name: spec.model_copy(update=change)})
        assert fingerprints.run_fingerprint(experiment, run) != fingerprints.run_fingerprint(other, run), change
    remark = spec.model_copy(update={"about": "a remark"})
    other = replace(experiment, attacks={**experiment.attacks, name: remark})
    assert fingerprints.run_fingerprint(experiment, run) == fingerprints.run_fingerprint(other, run)


def test_training_follows_the_code_of_every_function_its_recipe_names(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: set[str] = set()

    def code_version(*modules: str, **_: Any) -> str:
        followed.update(modules)
        return "code"

    monkeypatch.setattr(fingerprints, "code_version", code_version)
    for run in {run.recipe: run for run in plan.runs}.values():
        followed.clear()
        fingerprints.training_code(plan.experiment, run)
        recipe, experiment = plan.experiment.recipes[run.recipe], plan.experiment
        named = [
            ("method", recipe.method),
            ("optimizer", recipe.optimizer.name),
            ("architecture", experiment.architectures[run.architecture].architecture),
            *(("method", phase.method) for phase in recipe.phases if phase.method),
            *(("optimizer", phase.optimizer.name) for phase in recipe.phases if phase.optimizer),
            *(("probe", probe.name) for probe in recipe.probes.values()),
            *(("trace", trace.name) for trace in recipe.traces.values()),
            *(("attack", experiment.attacks[name].attack) for name in recipe_attacks(recipe)),
        ]
        wanted = {catalog.find_entry(kind, name).module for kind, name in named}
        assert "robustscape.training.loop" in followed and wanted <= followed, (run.recipe, wanted - followed)


def attacks_among(values: Iterable[Any]) -> Iterator[AttackSpec]:
    for value in values:
        if isinstance(value, AttackSpec):
            yield value
        elif isinstance(value, Suite):
            yield from (spec for _, spec in value.attacks)
        elif isinstance(value, list):
            yield from attacks_among(value)


def test_a_measurement_follows_the_code_of_its_function_attacks_and_nets(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: set[str] = set()

    def code_version(*modules: str, **_: Any) -> str:
        followed.update(modules)
        return "code"

    monkeypatch.setattr(fingerprints, "code_version", code_version)
    for work, study in plan.studies.items():
        for name, entry in study.measurements.items():
            followed.clear()
            arguments, run = plan.arguments(work, name), plan.planned_runs(work, entry)[0].run
            first = fingerprints.measurement_fingerprint(plan.experiment, entry, arguments, run)
            wanted = {catalog.find_entry("attack", spec.attack).module for spec in attacks_among(arguments.values())}
            wanted.add(catalog.find_entry("measurement", entry.measure).module)
            net = plan.experiment.architectures[run.architecture].architecture
            wanted.add(catalog.find_entry("architecture", net).module)
            assert wanted <= followed, (work, name, wanted - followed)
            monkeypatch.setattr(fingerprints, "code_version", lambda *_, **__: "other code")
            assert first != fingerprints.measurement_fingerprint(plan.experiment, entry, arguments, run)
            monkeypatch.setattr(fingerprints, "code_version", code_version)
