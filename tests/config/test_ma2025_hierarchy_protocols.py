"""Protocols of ma2025 chapter 5 in the effective configuration at the scale ``paper``: what section 5.6.1 says in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Recipe

ROOT = Path(__file__).parents[2]
EPS = 8 / 255

#: Run list of HAR -> its meta-classes.
NETWORKS = {"ch5_c10_har": 2, "ch5_5x5_har": 5, "ch5_c100_har": 20, "ch5_c100_l2_har": 20}


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def recipes(experiment: Experiment) -> dict[str, Recipe]:
    return {name: recipe for name, recipe in experiment.recipes.items() if name.startswith("ma2025_hierarchy")}


def test_all_nets_are_trained_alike(paper: Experiment) -> None:
    """200 epochs from 0.1, an order of magnitude less at 100 and 150; batches of 128, momentum 0.9, weight decay 2e-4."""
    found = recipes(paper)
    assert {name.partition("-")[2] for name in found} == {
        "",
        "pgd10",
        "pgd10t",
        "trades",
        "trades-beta1",
        "pgd10_l2",
        "pgd10t_l2",
    }
    for recipe in found.values():
        assert (recipe.epochs, recipe.batch_size, recipe.select) == (200, 128, "last")
        assert recipe.optimizer.name == "sgd"
        parameters = recipe.optimizer.parameters
        assert (parameters["lr"], parameters["momentum"], parameters["weight_decay"]) == (0.1, 0.9, 2e-4)
        assert (recipe.lr_schedule.kind, recipe.lr_schedule.gamma) == ("multistep", 0.1)
        assert [milestone * recipe.epochs for milestone in recipe.lr_schedule.milestones] == [100, 150]


def test_training_attacks_have_ten_steps_of_2_255(paper: Experiment) -> None:
    found = recipes(paper)
    assert found["ma2025_hierarchy"].attack is None
    for name, method in (
        ("pgd10", "adversarial"),
        ("pgd10t", "targeted_adversarial"),
        ("trades", "trades"),
        ("pgd10_l2", "adversarial"),
        ("pgd10t_l2", "targeted_adversarial"),
    ):
        recipe = found[f"ma2025_hierarchy-{name}"]
        attack = paper.attack(str(recipe.attack))
        assert recipe.method == method and attack.norm == ("L2" if name.endswith("l2") else "Linf")
        parameters = attack.parameters
        assert parameters["steps"] == 10 and parameters["rel_step_size"] * EPS == pytest.approx(2 / 255)
        assert parameters["rel_step_size"] * 0.5 == pytest.approx(2.5 * 0.5 / 10)  # in L2 the rule of appendix 3.D
        assert attack.attack == "kl_pgd" or parameters["random_start"]


def test_targets_lie_outside_the_meta_classes_of_the_data(paper: Experiment) -> None:
    """The sizes that PGD10-T reads are those of CIFAR-100 and of what stands in for it at the other scales."""
    for name in ("pgd10t", "pgd10t_l2"):
        sizes = recipes(paper)[f"ma2025_hierarchy-{name}"].parameters["hierarchies"]
        for dataset, own in zip(("cifar100_hierarchy", "garments"), sizes, strict=True):
            classes = paper.datasets[dataset].parameters["classes"]
            assert own == [len(leaves) for leaves in classes.values()]


def test_evaluation_has_the_steps_and_radii_of_the_tables(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    expected = {
        "ch5_c10_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_5x5_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_c100_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_c10_trades_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_5x5_trades_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_c100_trades_linf": (EPS, {20, 200}, "Linf", 2 / 255),
        "ch5_c100_l2": (0.5, {50}, "L2", 0.025),
    }
    for name, (eps, steps, norm, step) in expected.items():
        parameters = study.comparisons[name].parameters
        specs = [spec for _, spec in paper.suite(parameters["attacks"]).attacks]
        assert parameters["eps"] == pytest.approx(eps) and parameters["attacked_samples"] == 1000
        assert parameters["samples"] is None  # clean accuracy and untargeted PGD are of all test images
        assert {spec.parameters["steps"] for spec in specs} == steps
        for spec in specs:
            assert (spec.attack, spec.norm, spec.bounds) == ("pgd", norm, (0.0, 1.0)) and spec.parameters[
                "random_start"
            ]
            assert spec.parameters["step_size"] is None
            assert spec.parameters["rel_step_size"] * eps == pytest.approx(step)
        assert study.comparisons[name].weights == "last"
        assert study.comparisons[name].by == (["eps"] if "trades" in name else ["recipe", "eps", "seed"])


def test_beta_of_trades_is_chosen_by_pgd20_of_the_values_of_its_authors(paper: Experiment) -> None:
    study, attack = paper.studies["ma2025"], paper.attack("ma2025_hierarchy_pgd20")
    assert (attack.attack, attack.norm, attack.parameters["steps"]) == ("pgd", "Linf", 20)
    swept = {name: recipe for name, recipe in recipes(paper).items() if recipe.method == "trades"}
    assert {recipe.parameters["beta"] for recipe in swept.values()} == {1, 6}
    for name in ("c10", "5x5", "c100"):
        entry = study.comparisons[f"ch5_{name}_trades_linf"]
        assert entry.compare == "chosen_hierarchical_robustness" and entry.parameters["by"] == "ma2025_hierarchy_pgd20"
        (runs,) = entry.runs
        parts = {(p.run.recipe, p.run.dataset, p.run.architecture, p.run.seed) for p in paper.runs("ma2025", runs)}
        alike = {
            (recipe, p.run.dataset, p.run.architecture, p.run.seed)
            for kind in ("flat", "har")
            for p in paper.runs("ma2025", f"ch5_{name}_{kind}")
            for recipe in swept
        }
        assert parts == alike  # every net that the other methods train, with both values


def test_each_network_is_a_meta_classifier_and_a_classifier_a_meta_class_of_the_same_defence(paper: Experiment) -> None:
    for name, count in NETWORKS.items():
        parts: dict[tuple[str, float, int], list[str]] = {}
        for planned in paper.runs("ma2025", name):
            assert planned.run.architecture == "resnet10_bn" and planned.own_protocol
            part = str(paper.datasets[planned.run.dataset].parameters["part"])
            parts.setdefault((planned.run.recipe, planned.run.eps, planned.run.seed), []).append(part)
        assert {tuple(sorted(found)) for found in parts.values()} == {tuple(sorted(["meta", *map(str, range(count))]))}
        assert {seed for _, _, seed in parts} == {0, 1, 2}
        recipe_count = len({recipe for recipe, _, _ in parts})
        assert recipe_count == (1 if name == "ch5_c100_l2_har" else 2) and len(parts) == 3 * recipe_count
        for recipe, eps, _ in parts:
            radius = 0.5 if recipe.endswith("_l2") else 0.0 if recipe == "ma2025_hierarchy" else EPS
            assert eps == pytest.approx(radius)
    flat = [
        p
        for n in ("ch5_c10_flat", "ch5_5x5_flat", "ch5_c100_flat", "ch5_c100_targets")
        for p in paper.runs("ma2025", n)
    ]
    assert {planned.run.architecture for planned in flat} == {"resnet50"} and len(flat) == 3 * 7
    assert {planned.run.seed for planned in flat} == {0, 1, 2}


def test_table_5_1_shows_the_hierarchies_that_are_trained_on(paper: Experiment) -> None:
    shown = paper.studies["ma2025"].theory["ch5_hierarchies"].parameters["hierarchies"]
    datasets = {"cifar10": "cifar10_hierarchy", "cifar5x5": "cifar5x5", "cifar100": "cifar100_hierarchy"}
    assert {name: paper.datasets[entry].parameters["classes"] for name, entry in datasets.items()} == shown
    sizes = paper.studies["ma2025"].theory["ch5_sizes"].parameters["sizes"]
    assert sizes == {name: [len(leaves) for leaves in classes.values()] for name, classes in shown.items()}


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_what_stands_in_for_a_network_is_a_whole_network(scale: str) -> None:
    experiment = load_experiment(ROOT / "config", scale)
    for name in NETWORKS:
        parts: dict[tuple[str, int], set[str]] = {}
        wholes = set()
        for planned in experiment.runs("ma2025", name):
            parameters = experiment.datasets[planned.run.dataset].parameters
            parts.setdefault((planned.run.recipe, planned.run.seed), set()).add(str(parameters["part"]))
            wholes.add(str({key: value for key, value in parameters.items() if key != "part"}))
        assert len(wholes) == 1
        count = len(parameters["classes"])
        assert all(found == {"meta", *map(str, range(count))} for found in parts.values())
        flat = experiment.runs("ma2025", name.replace("_har", "_flat"))[0].run.dataset
        assert experiment.datasets[flat].parameters["classes"] == parameters["classes"]
