"""liu2020 as it is configured: three runs of everything, what curves and dead layers are measured on, grids that fit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module", params=["small", "paper"])
def experiment(request: pytest.FixtureRequest) -> Experiment:
    return load_experiment(CONFIG, request.param)


def test_every_experiment_is_run_three_times(experiment: Experiment) -> None:
    """The slides: each experiment is run for 3 times. A curve between two minima has two ends."""
    for name in experiment.studies["liu2020"].runs:
        planned = [p.run for p in experiment.runs("liu2020", name)]
        groups = {(r.dataset, r.architecture, r.recipe, r.eps): set[int]() for r in planned}
        for run in planned:
            groups[run.dataset, run.architecture, run.recipe, run.eps].add(run.seed)
        assert set(map(tuple, groups.values())) == {(0, 1) if name.startswith("mnist_pair") else (0, 1, 2)}, name


def test_figure_1_has_the_curves_of_the_authors_code() -> None:
    """The whole test set after every epoch, under the training attack; training errors of the updates themselves."""
    recipes = load_experiment(CONFIG, "paper").recipes
    for name, attack in (("liu2020_cifar10", None), ("liu2020_cifar10-pgd", "liu2020_cifar10")):
        recipe = recipes[name]
        assert recipe.attack == attack and recipe.parameters == {"log_error": True}
        for probe in recipe.probes.values():
            assert probe.every == 1 and probe.parameters["samples"] is None
            assert probe.parameters.get("attack") == attack


def test_figure_5_has_both_architectures_at_every_eps(experiment: Experiment) -> None:
    measurement = experiment.studies["liu2020"].measurements["updates_cifar10"]
    nets = {(p.architecture, p.eps) for name in measurement.runs for p in experiment.runs("liu2020", name)}
    budgets = (0.0, 2 / 255, 4 / 255, 8 / 255)
    assert nets == set(itertools.product(("resnet18_raw", "vgg16"), budgets))


def test_a_layer_is_dead_over_all_training_inputs(experiment: Experiment) -> None:
    entry = experiment.studies["liu2020"].measurements["dead_layers"]
    assert experiment.sized("liu2020", "dead_layers", entry)[0]["samples"] is None


def test_only_claims_about_dead_nets_are_judged_by_dead_nets(experiment: Experiment) -> None:
    items = experiment.studies["liu2020"].items
    about_dead_nets = {name for name, item in items.items() if any(claim.dead_nets for claim in item.claims)}
    assert about_dead_nets == {"table_3"}


def effective(experiment: Experiment, name: str) -> dict[str, Any]:
    """What a recipe comes to, with the attack it trains with, in the words of the specification."""
    recipe = experiment.recipes[name]
    attack = experiment.attack(recipe.attack) if recipe.attack else None
    return {
        "method": recipe.method,
        "optimizer": (recipe.optimizer.name, dict(recipe.optimizer.parameters)),
        "lr": recipe.lr_schedule.model_dump(exclude_defaults=True),
        "eps": recipe.eps_schedule.model_dump(exclude_defaults=True),
        "epochs": (recipe.epochs, recipe.batch_size, recipe.select),
        "augmentation": recipe.augmentation.model_dump(exclude_defaults=True),
        "attack": attack and (attack.attack, attack.norm, attack.bounds, attack.model_mode, dict(attack.parameters)),
        "rest": (recipe.phases, recipe.precision, recipe.recalibrate, recipe.if_diverged),
    }


#: PGD of section 1.2: one start in the cube of the step size, the last iterate, every step taken.
PGD = {
    "step_size": None,
    "random_start": True,
    "start": "step",
    "start_std": 0.001,
    "restarts": 1,
    "loss": "cross_entropy",
    "targeted": False,
    "keep_best": False,
    "early_stopping": False,
}
REST: tuple[list[Any], str, int, str] = ([], "fp32", 0, "fail")
COSINE, LINEAR = ({"kind": kind, "start": 0.0, "clip": 1.0, "hold": "epoch"} for kind in ("cosine", "linear"))
DROPS = {"kind": "multistep", "milestones": [0.5, 0.75]}
PERIODS: dict[str, Any] = {"restarts": [0.5, 0.75]}
PERIODIC = {"kind": "exponential", "end": 0.01, "hold": "epoch", **PERIODS}


def mnist(eps: float = 0.0, rate: float = 1e-4, budget: dict[str, Any] | None = None) -> dict[str, Any]:
    """Section 3, MNIST: Adam, constant rate, 100 epochs of batches of 128; PGD with step 0.01 and eps / 0.01 + 10 steps."""
    steps = {**PGD, "steps": round(eps / 0.01) + 10, "rel_step_size": pytest.approx(0.01 / (eps or 1))}
    return {
        "method": "adversarial" if eps else "standard",
        "optimizer": ("adam", {"lr": rate, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}),
        "lr": {},
        "eps": budget or {},
        "epochs": (100, 128, "last"),
        "augmentation": {},
        "attack": ("pgd", "Linf", (0.0, 1.0), "eval", steps) if eps else None,
        "rest": REST,
    }


def cifar10(decay: float, attacked: bool, rate: dict[str, Any], budget: dict[str, Any] | None = None) -> dict[str, Any]:
    """Section 3, CIFAR-10: SGD 0.1 with momentum 0.9, 200 epochs of batches of 128; PGD of 10 steps of eps / 4."""
    steps = {**PGD, "steps": 10, "rel_step_size": 0.25}
    return {
        "method": "adversarial" if attacked else "standard",
        "optimizer": ("sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": decay, "nesterov": False}),
        "lr": rate,
        "eps": budget or {},
        "epochs": (200, 128, "last"),
        "augmentation": {"crop": 4, "flip": True},
        "attack": ("pgd", "Linf", (0.0, 1.0), "eval", steps) if attacked else None,
        "rest": REST,
    }


#: Recipe -> what the specification says it is, sections 1.2, 3 and 3.1; budgets go beyond the target and are cut there.
RECIPES: dict[str, dict[str, Any]] = {
    "mnist": mnist(),
    **{f"mnist-pgd_0{tenths}": mnist(tenths / 10) for tenths in (1, 2, 3)},
    **{
        f"mnist_04{budget}{rate}": mnist(0.4, float(rate[3:] or 1e-4), shape)
        for rate in ("", "-lr0.0003", "-lr0.001")
        for budget, shape in (("", None), ("-cosine", {**COSINE, "end": 1.5}), ("-linear", {**LINEAR, "end": 2.0}))
    },
    "cifar10": cifar10(1e-4, False, DROPS),
    "cifar10-pgd": cifar10(1e-4, True, DROPS),
    "cifar10_schedules": cifar10(1e-3, True, DROPS),
    "cifar10_schedules-cosine": cifar10(1e-3, True, DROPS, {**COSINE, "end": 2.0}),
    "cifar10_schedules-linear": cifar10(1e-3, True, DROPS, {**LINEAR, "end": 2.0}),
    "cifar10_schedules-periodic": cifar10(1e-3, True, PERIODIC),
    "cifar10_schedules-cosine_periodic": cifar10(1e-3, True, PERIODIC, {**COSINE, "end": 2.0, **PERIODS}),
    "cifar10_schedules-linear_periodic": cifar10(1e-3, True, PERIODIC, {**LINEAR, "end": 2.0, **PERIODS}),
}


def test_every_recipe_that_runs_at_paper_is_the_specifications() -> None:
    paper = load_experiment(CONFIG, "paper")
    names = paper.recipe_names("liu2020", paper.studies["liu2020"].runs)
    found = {name.removeprefix("liu2020_"): effective(paper, name) for name in names}
    assert found == RECIPES


def test_the_nets_at_paper_have_the_works_widths_and_raw_pixels() -> None:
    paper = load_experiment(CONFIG, "paper")
    used = {p.run.architecture for name in paper.studies["liu2020"].runs for p in paper.runs("liu2020", name)}
    nets = {name: paper.architectures[name] for name in used}
    assert {name: (net.architecture, net.parameters["width"]) for name, net in nets.items()} == {
        "lenet": ("lenet", 16),
        "resnet18_raw": ("resnet18", 4 * 16),
        "resnet18_8": ("resnet18", 4 * 8),
        "vgg16": ("vgg16", 16),
        "vgg16_8": ("vgg16", 8),
    }
    assert {net.normalisation for net in nets.values()} == {"none"}


def test_attacks_of_table_4_are_the_specifications() -> None:
    paper = load_experiment(CONFIG, "paper")
    hundred = {**PGD, "steps": 100}
    # A broken sample leaves the search, which changes no error.
    auto = {
        "iterations": 100,
        "restarts": 5,
        "rho": 0.75,
        "n_target_classes": 9,
        "random_start": True,
        "early_stopping": True,
    }
    expected: dict[str, dict[str, Any]] = {
        "liu2020_mnist_pgd100": {**hundred, "rel_step_size": pytest.approx(0.01 / 0.4)},
        "liu2020_cifar10_pgd100": {**hundred, "rel_step_size": pytest.approx(1 / 8)},
        "liu2020_apgd100_ce": {**auto, "loss": "cross_entropy"},
        "liu2020_apgd100_dlr": {**auto, "loss": "dlr"},
    }
    for data, own in (("mnist", "liu2020_mnist_04"), ("cifar10", "liu2020_cifar10")):
        assert paper.suites[f"liu2020_{data}"].attacks == [
            own, f"liu2020_{data}_pgd100", "liu2020_apgd100_ce", "liu2020_apgd100_dlr"
        ]  # fmt: skip
    assert {name: dict(paper.attack(name).parameters) for name in expected} == expected
