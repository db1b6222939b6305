"""yamada2021 as it is configured at the scale `paper`: sections 2 and 5, appendix C, and what the work leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment

CONFIG = Path(__file__).parents[2] / "config"
#: One start in the ball (Madry 2018), the last iterate, every step taken.
PGD = {
    "random_start": True,
    "start": "ball",
    "start_std": 0.001,
    "restarts": 1,
    "loss": "cross_entropy",
    "targeted": False,
    "keep_best": False,
    "early_stopping": False,
}
SGD = {"momentum": 0.9, "nesterov": False}
STEPS = {"mnist2": (40, 100), "cifar10": (7, 20), "svhn": (10, 20)}
STEP_SIZES = {"mnist2": 0.01, "cifar10": 2 / 255, "svhn": 1 / 255}


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(CONFIG, "paper")


def pgd(paper: Experiment, name: str | None) -> tuple[Any, ...]:
    spec = paper.attack(str(name))
    unused = "step_size" if spec.norm == "L2" else "rel_step_size"
    parameters = {key: value for key, value in spec.parameters.items() if key != unused}
    return spec.attack, spec.norm, spec.bounds, spec.model_mode, parameters


def expected_pgd(data: str, steps: int, norm: str, mode: str) -> tuple[Any, ...]:
    step = {"rel_step_size": 0.15} if norm == "L2" else {"step_size": pytest.approx(STEP_SIZES[data])}
    return "pgd", norm, (0.0, 1.0), mode, {**PGD, "steps": steps, **step}


def test_logistic_regression_is_trained_alike_at_every_eps(paper: Experiment) -> None:
    """The work names no optimizer: the choice is one for all, so that runs differ in their noise alone."""
    names = [name for name in paper.recipes if name.startswith("yamada2021_mnist2")]
    assert len(names) == 5
    for name in names:
        recipe = paper.recipes[name]
        assert (recipe.optimizer.name, recipe.optimizer.parameters) == ("sgd", {**SGD, "lr": 0.1, "weight_decay": 0.0})
        assert recipe.lr_schedule.model_dump(exclude_defaults=True) == {"kind": "cosine"}
        assert (recipe.epochs, recipe.batch_size, recipe.phases) == (30, 128, [])
        assert recipe.augmentation.model_dump(exclude_defaults=True) == {}


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_noises_on_mnist2(paper: Experiment, norm: str) -> None:
    """40 steps in training, 100 in evaluation, of 0.15 eps or 0.01; random noise in the same ball, cut to [0, 1]."""
    for kind in ("pgd", "random"):
        recipe = paper.recipes[f"yamada2021_mnist2-{kind}_{norm.lower()}"]
        watched = recipe.probes[recipe.select].parameters
        assert watched["split"] == "test" and watched.get("samples") is None and recipe.probes[recipe.select].every == 1
        if kind == "pgd":
            assert pgd(paper, recipe.attack) == expected_pgd("mnist2", 40, norm, "eval")
            assert pgd(paper, watched["attack"]) == expected_pgd("mnist2", 100, norm, "eval")
        else:
            spec = paper.attack(str(recipe.attack))
            assert recipe.attack == watched["attack"]
            assert (spec.attack, spec.norm, spec.bounds, spec.parameters) == ("random_noise", norm, (0.0, 1.0), {})


@pytest.mark.parametrize(
    ("data", "rate", "decay", "augmentation"),
    [("cifar10", 0.1, 2e-4, {"crop": 4, "flip": True}), ("svhn", 0.01, 5e-4, {})],
)
def test_resnet18(paper: Experiment, data: str, rate: float, decay: float, augmentation: dict[str, Any]) -> None:
    """As Madry 2018 and Wu 2020, to whom the work points; the epoch of the best robust test accuracy (Rice 2020)."""
    for name in (f"yamada2021_{data}", f"yamada2021_{data}-pgd"):
        recipe = paper.recipes[name]
        assert recipe.optimizer.name == "sgd"
        assert recipe.optimizer.parameters == {**SGD, "lr": rate, "weight_decay": decay}
        assert recipe.lr_schedule.model_dump(exclude_defaults=True) == {"kind": "multistep", "milestones": [0.5, 0.75]}
        assert (recipe.epochs, recipe.batch_size) == (200, 128)
        assert recipe.augmentation.model_dump(exclude_defaults=True) == augmentation
        assert recipe.select == "robust_test_accuracy" and recipe.probes[recipe.select].every == 1
    training, evaluation = STEPS[data]
    assert pgd(paper, recipe.attack) == expected_pgd(data, training, "Linf", "train")
    assert pgd(paper, recipe.probes[recipe.select].parameters["attack"]) == expected_pgd(
        data, evaluation, "Linf", "eval"
    )


def test_grids_of_eps(paper: Experiment) -> None:
    """Section 5; the passage on random noise leaves out 0.6, which table 2 has."""
    found = {name: sorted(p.eps for p in paper.runs("yamada2021", name)) for name in paper.studies["yamada2021"].runs}
    small = [4 / 255, 8 / 255, 12 / 255, 16 / 255]
    assert found == {
        "mnist2_clean": [0.0],
        "mnist2_pgd_l2": pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]),
        "mnist2_random_l2": pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]),
        "mnist2_pgd_linf": pytest.approx(small),
        "mnist2_random_linf": pytest.approx(small),
        "mnist2_pgd_linf_large": pytest.approx([25.5 / 255, 51 / 255, 76.5 / 255]),
        "mnist2_pgd_linf_bias": pytest.approx([51 / 255, 76.5 / 255]),
        "cifar10_clean": [0.0],
        "cifar10_adversarial": pytest.approx(small),
        "svhn": pytest.approx([0.0, *small]),
    }


def test_landscapes_and_tables_are_on_all_images_of_mnist2(paper: Experiment) -> None:
    """Equation 5 averages over the training data; a landscape under noise redraws it, under PGD attacks anew."""
    study = paper.studies["yamada2021"]
    for name, entry in study.measurements.items():
        if "mnist2" not in name:
            continue
        parameters = paper.sized("yamada2021", name, entry)[0]
        assert parameters.get("samples") is None, name
        if name.startswith("landscape"):
            assert entry.weights == "last" and (parameters["points"], parameters["directions"]) == (41, 5)
            assert parameters.get("inside", "recomputed") == ("redrawn" if "random" in name else "recomputed")
