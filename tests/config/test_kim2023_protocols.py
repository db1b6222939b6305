"""Protocols of kim2023, chapters 2 and 3, in the effective configuration: what the thesis says in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


#: Recipe -> the epochs after which the learning rate falls (sections 2.4.1 and 3.4.2).
MILESTONES = {
    "kim2023_co": [60, 120, 160],
    "kim2023_co_probed-fast": [60, 120, 160],
    "kim2023_bat_mnist": [30, 40],
    "kim2023_bat_mnist-mart": [30, 40],
    "kim2023_bat_tiny": [100, 105],
    "kim2023_bat_tiny-bat": [100, 105],
    "kim2023_bat_long": [100, 105],
    "kim2023_bat_long-trades": [100, 105],
}


@pytest.mark.parametrize("name", MILESTONES)
@pytest.mark.parametrize("steps", [391, 469, 782])
def test_the_learning_rate_falls_between_two_epochs(paper: Experiment, name: str, steps: int) -> None:
    """Not some updates before the end of the epoch, nor some after its beginning."""
    recipe = paper.recipes[name]
    updates = recipe.epochs * steps
    factors = [schedule_factor(recipe.lr_schedule, update / updates, recipe.epochs) for update in range(updates)]
    falls = [update for update in range(1, updates) if factors[update] != factors[update - 1]]
    assert falls == [epoch * steps for epoch in MILESTONES[name]]


def attacks_behind(experiment: Experiment, lists: str) -> set[str]:
    """The attacks with which the runs of some run lists are trained and measured."""
    study = experiment.studies["kim2023"]
    recipes = experiment.recipe_names("kim2023", [name for name in study.runs if name.startswith(lists)])
    found = {experiment.recipes[name].attack for name in recipes} - {None}
    for name, entry in {**study.measurements, **study.comparisons}.items():
        if name.startswith(lists):
            for key in ("attack", "attacks"):
                value = entry.parameters.get(key)
                if isinstance(value, str):
                    found |= set(experiment.suites[value].attacks) if key == "attacks" else {value}
    return {str(name) for name in found}


def test_pgd_of_chapter_3_starts_at_the_original_example(paper: Experiment) -> None:
    """ "x^0 is the original example" (below equation 3.9); KL-PGD has no gradient there, and keeps its start."""
    attacks = {name: paper.attacks[name] for name in attacks_behind(paper, "ch3b_")}
    starts = {name: spec.parameters["random_start"] for name, spec in attacks.items() if spec.attack == "pgd"}
    assert len(starts) >= 6 and not any(starts.values()), starts
    assert {spec.attack for spec in attacks.values()} == {"pgd", "kl_pgd", "fgsm"}


def test_pgd_of_chapter_2_starts_at_random(paper: Experiment) -> None:
    attacks = {name: paper.attacks[name] for name in attacks_behind(paper, "ch2_")}
    starts = {name: spec.parameters["random_start"] for name, spec in attacks.items() if spec.attack == "pgd"}
    assert len(starts) >= 5 and all(starts.values()), starts


def test_tiny_imagenet_has_the_grid_of_beta(paper: Experiment) -> None:
    """Section 3.4.2: beta out of 1, 5, 10, 20 and 40 for every method that has one; three seeds each."""
    found: dict[str, set[float]] = {}
    for planned in paper.runs("kim2023", "ch3b_tiny"):
        recipe = paper.recipes[planned.run.recipe]
        found.setdefault(recipe.method, set()).add(recipe.parameters.get("beta", math.nan))
        assert recipe.parameters.get("bridges", 3) == 3
    assert all(sorted(found[method]) == [1, 5, 10, 20, 40] for method in ("trades", "mart", "bat"))


def test_figure_3_7_has_the_grid_of_eps(paper: Experiment) -> None:
    eps = {round(planned.eps, 4) for planned in paper.runs("kim2023", "ch3b_mnist_curve")}
    assert sorted(eps) == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.375, 0.4, 0.45, 0.5]


#: Attack -> eps, steps, step size (sections 2.4.1 and 3.4.2: alpha = max(2/255, eps/n), 2/255, 0.02 on MNIST).
STEPS = {
    "kim2023_fast": (8 / 255, 1, 10 / 255),
    "kim2023_pgd2": (8 / 255, 2, 4 / 255),
    "kim2023_pgd4": (8 / 255, 4, 2 / 255),
    "kim2023_pgd7": (8 / 255, 7, 2 / 255),
    "kim2023_kl7": (8 / 255, 7, 2 / 255),
    "kim2023_pgd10": (8 / 255, 10, 2 / 255),
    "kim2023_kl10": (8 / 255, 10, 2 / 255),
    "kim2023_pgd10_16": (16 / 255, 10, 2 / 255),
    "kim2023_kl10_16": (16 / 255, 10, 2 / 255),
    "pgd50": (8 / 255, 50, 2 / 255),
    "kim2023_pgd50_16": (16 / 255, 50, 2 / 255),
    "kim2023_mnist_pgd40": (0.3, 40, 0.02),
    "kim2023_mnist_kl40": (0.45, 40, 0.02),
    "kim2023_mnist_pgd50": (0.45, 50, 0.02),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_the_attacks(paper: Experiment, name: str) -> None:
    eps, steps, size = STEPS[name]
    parameters = paper.attacks[name].parameters
    absolute = parameters.get("step_size")
    assert parameters.get("steps", 1) == steps
    assert (absolute if absolute is not None else parameters["rel_step_size"] * eps) == pytest.approx(size)


#: Recipe -> method, its parameters, attack, optimizer, learning rate, epochs, and batch-independent augmentation (crop, flip).
TRAINED = {
    "kim2023_co": ("adversarial", {}, "kim2023_pgd7", "sgd", 0.01, 200, (4, True)),
    "kim2023_co-pgd2": ("adversarial", {}, "kim2023_pgd2", "sgd", 0.01, 200, (4, True)),
    "kim2023_co-trades": ("trades", {"beta": 6}, "kim2023_kl7", "sgd", 0.01, 200, (4, True)),
    "kim2023_co-fast": ("adversarial", {}, "kim2023_fast", "sgd", 0.01, 200, (4, True)),
    "kim2023_co-gradalign": ("gradalign", {"beta": 0.2}, "fgsm", "sgd", 0.01, 200, (4, True)),
    "kim2023_co-checkpoints2": (
        "single_step_checkpoints",
        {"checkpoints": 2},
        "kim2023_fast",
        "sgd",
        0.01,
        200,
        (4, True),
    ),
    "kim2023_co-checkpoints4": (
        "single_step_checkpoints",
        {"checkpoints": 4},
        "kim2023_fast",
        "sgd",
        0.01,
        200,
        (4, True),
    ),
    "kim2023_co-standard": ("standard", {}, None, "sgd", 0.01, 200, (4, True)),
    "kim2023_bat_c10": ("adversarial", {}, "kim2023_pgd10", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10-trades": ("trades", {"beta": 5}, "kim2023_kl10", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10_probed-trades": ("trades", {"beta": 5}, "kim2023_kl10", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10-mart": ("mart", {"beta": 5}, "kim2023_pgd10", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10-bat": ("bat", {"beta": 5, "bridges": 2}, "kim2023_pgd10", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10-bat16": ("bat", {"beta": 5, "bridges": 2}, "kim2023_pgd10_16", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_c10-trades16": ("trades", {"beta": 5}, "kim2023_kl10_16", "sgd", 0.3, 30, (4, True)),
    "kim2023_bat_mnist": ("adversarial", {}, "kim2023_mnist_pgd40", "adam", 0.001, 50, (0, False)),
    "kim2023_bat_mnist-trades": ("trades", {"beta": 5}, "kim2023_mnist_kl40", "adam", 0.001, 50, (0, False)),
    "kim2023_bat_mnist-mart": ("mart", {"beta": 5}, "kim2023_mnist_pgd40", "sgd", 0.01, 50, (0, False)),
    "kim2023_bat_mnist-bat": ("bat", {"beta": 5, "bridges": 2}, "kim2023_mnist_pgd40", "adam", 0.001, 50, (0, False)),
    "kim2023_bat_tiny": ("adversarial", {}, "kim2023_pgd10", "sgd", 0.1, 110, (4, True)),
    "kim2023_bat_tiny-bat": ("bat", {"beta": 5, "bridges": 3}, "kim2023_pgd10", "sgd", 0.1, 110, (4, True)),
}


@pytest.mark.parametrize("name", TRAINED)
def test_effective_recipes(paper: Experiment, name: str) -> None:
    recipe = paper.recipes[name]
    optimizer, augmentation = recipe.optimizer, recipe.augmentation
    given = {key: recipe.parameters[key] for key in TRAINED[name][1]}
    found = (recipe.method, given, recipe.attack, optimizer.name, optimizer.parameters["lr"], recipe.epochs)
    assert (*found, (augmentation.crop, augmentation.flip)) == TRAINED[name]
    if optimizer.name == "sgd" and name != "kim2023_bat_mnist-mart":
        assert (optimizer.parameters["momentum"], optimizer.parameters["weight_decay"]) == (0.9, 5e-4)
    assert recipe.batch_size == 128


@pytest.mark.parametrize("name", ["pgd2", "trades", "fast", "gradalign", "checkpoints3"])
def test_repetitions_that_are_not_watched_are_trained_as_those_that_are(paper: Experiment, name: str) -> None:
    """Table 2.1 averages over both."""
    watched = paper.recipes["kim2023_co_probed" if name == "pgd2" else f"kim2023_co_probed-{name}"]
    repeated = paper.recipes[f"kim2023_co-{name}"]
    observed = {"about", "extends", "variants", "factors", "probes", "keep_collapse"}
    assert watched.model_dump(exclude=observed) == repeated.model_dump(exclude=observed)
    assert watched.probes and not repeated.probes
    batch = paper.recipes.get(f"kim2023_co_probed-{name}_batch", watched)  # table 2.2
    assert batch.model_dump(exclude=observed) == repeated.model_dump(exclude=observed)


@pytest.mark.parametrize("name", ["", "-trades", "-bat"])
def test_the_watched_runs_of_chapter_3_are_trained_as_their_repetitions(paper: Experiment, name: str) -> None:
    """Table 3.8 averages over both; figures 3.9 and 3.13 are of the cyclic schedule (section 3.4.2)."""
    watched, repeated = paper.recipes[f"kim2023_bat_c10_probed{name}"], paper.recipes[f"kim2023_bat_c10{name}"]
    observed = {"about", "extends", "variants", "factors", "probes", "traces", "traced_updates"}
    assert watched.model_dump(exclude=observed) == repeated.model_dump(exclude=observed)
    assert watched.traces and watched.traced_updates.first == 2000 and not repeated.traces and not repeated.probes


def test_figures_3_9_and_3_13_are_of_the_cyclic_schedule(paper: Experiment) -> None:
    """ "We report the results with cyclic learning rate schedule"; 40 epochs of figure 3.12 are more than that has."""
    study = paper.studies["kim2023"]
    for name, kind in (("ch3b_updates", "triangle"), ("ch3b_projections", "triangle"), ("ch3b_history", "multistep")):
        recipes = paper.recipe_names("kim2023", study.measurements[name].runs)
        assert {paper.recipes[recipe].lr_schedule.kind for recipe in recipes} == {kind}
        assert all(paper.recipes[recipe].epochs >= 40 for recipe in recipes) == (name == "ch3b_history")


def test_runs_that_no_figure_watches_have_no_probes(paper: Experiment) -> None:
    """A pass over all of Tiny ImageNet an epoch for a figure of CIFAR-10, or a trace of every beta, costs and shows nothing."""
    for planned in paper.runs("kim2023", "ch2_tiny_watched"):
        assert set(paper.recipes[planned.run.recipe].probes) == {"train_pgd7", "train_fgsm", "train_distortion"}
    for name in ("ch3b_c10_bat_beta", "ch3b_c10_trades_beta", "ch3b_c10_bat_m", "ch3b_c10_repeats", "ch3b_c10_mart"):
        for planned in paper.runs("kim2023", name):
            if not planned.run.recipe.startswith("kim2023_bat_c10_probed"):
                recipe = paper.recipes[planned.run.recipe]
                assert not recipe.probes and not recipe.traces, planned.run.recipe


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_beta_5_and_m_2_are_one_net_in_three_tables(scale: str) -> None:
    experiment = load_experiment(ROOT / "config", scale)
    (bat,) = [p.run for p in experiment.runs("kim2023", "ch3b_c10_one") if p.run.recipe.endswith("-bat")]
    for name in ("ch3b_c10_bat_beta", "ch3b_c10_bat_m"):
        runs = [planned.run for planned in experiment.runs("kim2023", name)]
        parameters = [experiment.recipes[run.recipe].parameters for run in runs]
        assert bat in runs and len(runs) == {"ch3b_c10_bat_beta": 8, "ch3b_c10_bat_m": 5}[name]
        assert len({(given["beta"], given["bridges"]) for given in parameters}) == len(runs)


@pytest.mark.parametrize(("scale", "seeds"), [("small", 2), ("paper", 3)])
def test_table_3_8_has_its_seeds_of_every_method(scale: str, seeds: int) -> None:
    experiment = load_experiment(ROOT / "config", scale)
    found: dict[str, list[int]] = {}
    for name in experiment.studies["kim2023"].measurements["ch3b_accuracy_8"].runs:
        for planned in experiment.runs("kim2023", name):
            found.setdefault(experiment.recipes[planned.run.recipe].method, []).append(planned.run.seed)
    assert set(found) == {"adversarial", "trades", "mart", "bat"}
    assert all(sorted(numbers) == list(range(seeds)) for numbers in found.values()), found


def test_mnist_has_the_lenet_of_the_author_and_its_stand_in_at_small(paper: Experiment) -> None:
    small = load_experiment(ROOT / "config", "small")
    for name in ("ch3b_mnist", "ch3b_mnist_curve"):
        assert {planned.run.architecture for planned in paper.runs("kim2023", name)} == {"lenet_unpadded"}
        assert {planned.run.architecture for planned in small.runs("kim2023", name)} == {"lenet_small"}
    assert paper.architectures["lenet_unpadded"].parameters == {"width": 16, "padded": False}
