"""liu2020 as it is configured: three runs of everything, what curves and dead layers are measured on, grids that fit."""

from __future__ import annotations

import itertools
from pathlib import Path

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
        assert set(map(tuple, groups.values())) == {(0, 1) if name == "mnist_pair" else (0, 1, 2)}, name


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
