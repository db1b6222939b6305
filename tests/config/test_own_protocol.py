"""A number counts as the work's own only where data, architecture, eps, recipe and measurement are; whatever a scale changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from robustscape.config.loading import load_experiment
from robustscape.config.recipes import RecipeSizes
from robustscape.config.scales import MeasurementSizes
from robustscape.pipeline.plan import Plan

STUDY = "yamada2021"
#: A key of a recipe's sizes -> a value that is no recipe's of the study.
RECIPE_SIZES: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 7,
    "augmentation": {"crop": 1, "flip": False},
    "traced_updates": 1,
    "probe_points": 3,
    "probe_samples": 5,
    "lr_factor": 3.0,
    "inner_steps": 3,
    "recalibrate": 2,
}
#: A key of a measurement's sizes -> a measurement of the study that takes it, and a value that is not the study's.
MEASUREMENT_SIZES: dict[str, tuple[str, Any]] = {
    "samples": ("accuracy_resnet18_svhn", 100),
    "points": ("landscape_resnet18_svhn", 3),
    "directions": ("landscape_resnet18_svhn", 2),
    "suite": ("suite_svhn", "autoattack-lite"),
    "attacked_samples": ("suite_svhn", 100),
}


def plan_of(config: Path, **scale: Any) -> Plan:
    """The plan at a scale that is ``paper`` with other keys."""
    folder = config / "scales/trial"
    folder.mkdir()
    common = yaml.safe_load((config / "scales/paper/common.yaml").read_text())
    (folder / "common.yaml").write_text(yaml.safe_dump({**common, **scale}))
    return Plan(load_experiment(config, "trial"), Path("results"))


def own_measurements(plan: Plan) -> set[str]:
    """The measurements and comparisons of the study whose tables are all the work's own."""
    study = plan.studies[STUDY]
    names = [*study.measurements, *study.comparisons]
    return {name for name in names if all(table.paper_protocol for table in plan.tables(STUDY, name))}


def measured_on(plan: Plan, *words: str) -> set[str]:
    """The measurements and comparisons that have a run with one of ``words`` in its recipe or data set."""
    study = plan.studies[STUDY]
    return {
        name
        for name, entry in {**study.measurements, **study.comparisons}.items()
        for runs in entry.runs
        for one in study.runs[runs]
        if any(word in f"{one.dataset} {one.recipe}" for word in words)
    }


@pytest.fixture
def everything(config: Path) -> set[str]:
    study = load_experiment(config, "paper").studies[STUDY]
    return {*study.measurements, *study.comparisons}


def test_at_paper_all_of_it_is_the_works_own(config: Path, everything: set[str]) -> None:
    assert own_measurements(plan_of(config)) == everything


@pytest.mark.parametrize(
    "scale",
    [
        {"datasets": {"svhn": "digits"}},
        {"stand_ins": {f"{STUDY}/svhn": {"datasets": {"svhn": "digits"}}}},
        {"stand_ins": {f"{STUDY}/svhn": {"architectures": {"resnet18_svhn": "resnet18_w8_half"}}}},
        {"stand_ins": {f"{STUDY}/svhn": {"eps": {"8/255": "7/255"}}}},
        {"recipes": {f"{STUDY}_svhn*": {"epochs": 199}}},
    ],
    ids=["data set", "data set of some runs", "architecture", "eps", "epochs"],
)
def test_what_is_measured_on_stand_ins_is_not_and_the_rest_is(
    config: Path, everything: set[str], scale: dict[str, Any]
) -> None:
    plan = plan_of(config, **scale)
    assert everything - own_measurements(plan) == measured_on(plan, "svhn") != set()


def test_one_stand_in_of_an_eps_changes_its_own_table_only(config: Path) -> None:
    plan = plan_of(config, stand_ins={f"{STUDY}/svhn": {"eps": {"8/255": "7/255"}}})
    own = {table.runs[0].eps: table.paper_protocol for table in plan.tables(STUDY, "accuracy_resnet18_svhn")}
    assert own == {eps / 255: eps != 8 for eps in (0, 4, 8, 12, 16)}
    (matrix,) = plan.tables(STUDY, "transfer_cifar10")
    assert matrix.paper_protocol and len(matrix.runs) == 5


def test_one_run_of_a_comparison_that_is_not_the_works_own_is_enough(config: Path) -> None:
    plan = plan_of(config, stand_ins={f"{STUDY}/cifar10_adversarial": {"eps": {"8/255": "7/255"}}})
    (matrix,) = plan.tables(STUDY, "transfer_cifar10")
    assert [one.own_protocol for one in matrix.runs].count(False) == 1 and not matrix.paper_protocol


def test_the_arithmetic_of_a_scale_leaves_the_protocol_the_works_own(config: Path) -> None:
    experiment = plan_of(config, precision="tf32").experiment
    exact = {name for name, recipe in experiment.recipes.items() if recipe.precision == "fp32"}
    assert exact == {name for name in experiment.recipes if name.startswith(("ma2025_soar", "ma2025_foar"))}
    assert {recipe.precision for recipe in experiment.recipes.values()} == {"fp32", "tf32"}
    assert experiment.recipes == experiment.full_recipes
    runs = [
        planned
        for work, study in experiment.studies.items()
        for name in study.runs
        for planned in experiment.runs(work, name)
    ]
    assert any(planned.own_protocol for planned in runs)


def test_every_size_is_tried_here() -> None:
    assert set(RecipeSizes.model_fields) <= set(RECIPE_SIZES)


@pytest.mark.parametrize("key", sorted(set(RecipeSizes.model_fields) & set(RECIPE_SIZES)))
def test_a_resized_recipe_is_never_the_works_own(config: Path, key: str) -> None:
    """Of every recipe that the size changes; one that does not have what is resized stays what it is."""
    plan = plan_of(config, recipes={"*": {key: RECIPE_SIZES[key]}})
    experiment = plan.experiment
    changed = {name for name, recipe in experiment.recipes.items() if recipe != experiment.full_recipes[name]}
    assert changed, "the size reaches a recipe"
    for work, study in plan.studies.items():
        for runs in study.runs:
            for planned in experiment.runs(work, runs):
                assert planned.own_protocol == (planned.run.recipe not in changed)


@pytest.mark.parametrize("key", sorted(set(MeasurementSizes.model_fields) & set(MEASUREMENT_SIZES)))
def test_a_resized_measurement_is_never_the_works_own(config: Path, everything: set[str], key: str) -> None:
    name, value = MEASUREMENT_SIZES[key]
    plan = plan_of(config, measurements={f"{STUDY}/{name}": {key: value}})
    assert everything - own_measurements(plan) == {name}
