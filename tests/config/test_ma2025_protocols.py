"""Protocols of ma2025 chapter 3 in the effective configuration: what the thesis says in words (appendix 3.A, 3.D, 3.4.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Recipe
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]

#: CIFAR-10 in batches of 128.
STEPS = 391


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def learning_rates(recipe: Recipe) -> list[tuple[int, float]]:
    """The epochs (from 0) at whose start the learning rate changes, and the rate from there on."""
    found: list[tuple[int, float]] = []
    for epoch in range(recipe.epochs):
        base = recipe.in_force(epoch).optimizer.parameters["lr"]
        rates = {
            round(base * schedule_factor(recipe.lr_schedule, (epoch * STEPS + step) / (recipe.epochs * STEPS)), 12)
            for step in (0, STEPS // 2, STEPS - 1)
        }
        assert len(rates) == 1, "a rate changes between two epochs"
        (rate,) = rates
        if not found or rate != found[-1][1]:
            found.append((epoch, rate))
    return found


STANDARD = [(0, 0.1), (100, 0.01), (150, 0.001)]
SOAR = [*STANDARD, (200, 0.004), (300, 0.0004)]
RATES: dict[str, tuple[int, list[tuple[int, float]]]] = {
    "ma2025_ch3": (200, STANDARD),
    "ma2025_ch3-source": (200, STANDARD),
    "ma2025_ch3-pgd10": (200, STANDARD),
    "ma2025_ch3-pgd10_l2": (200, STANDARD),
    "ma2025_soar": (400, SOAR),
    "ma2025_soar-zero": (400, SOAR),
    "ma2025_soar-random": (400, SOAR),
    "ma2025_foar": (400, SOAR),
    "ma2025_foar-zero": (400, SOAR),
    "ma2025_foar-random": (400, SOAR),
    "ma2025_trades": (120, [(0, 0.1), (75, 0.01), (90, 0.001), (100, 0.0001)]),
    "ma2025_trades-mart": (120, [(0, 0.1), (75, 0.01), (90, 0.001), (100, 0.0001)]),
    "ma2025_trades-l2": (120, [(0, 0.1), (75, 0.01), (90, 0.001), (100, 0.0001)]),
    # 20,000, 30,000 and 40,000 of 50,000 iterations, at the nearest epochs of 391
    "ma2025_mma": (128, [(0, 0.3), (51, 0.09), (77, 0.03), (102, 0.009)]),
}


@pytest.mark.parametrize("name", RATES)
def test_epochs_and_learning_rates(paper: Experiment, name: str) -> None:
    recipe = paper.recipes[name]
    epochs, rates = RATES[name]
    assert recipe.epochs == epochs and learning_rates(recipe) == rates
    assert recipe.batch_size == 128 and recipe.augmentation.crop == 4 and recipe.augmentation.flip
    for epoch in range(recipe.epochs):
        optimizer = recipe.in_force(epoch).optimizer
        assert optimizer.name == "sgd"
        assert {k: v for k, v in optimizer.parameters.items() if k in ("momentum", "weight_decay")} == {
            "momentum": 0.9,
            "weight_decay": 2e-4,
        }


@pytest.mark.parametrize(
    ("name", "method", "parameters"),
    [
        ("ma2025_soar", "soar", {"init": "pgd1", "draws": 1, "h": "scaled", "clip": "scaled"}),
        ("ma2025_soar-zero", "soar", {"init": "zero", "draws": 1}),
        ("ma2025_soar-random", "soar", {"init": "random", "draws": 1}),
        ("ma2025_foar", "foar", {"init": "pgd1"}),
        ("ma2025_foar-zero", "foar", {"init": "zero"}),
        ("ma2025_foar-random", "foar", {"init": "random"}),
    ],
)
def test_soar_and_foar_start_from_standard(
    paper: Experiment, name: str, method: str, parameters: dict[str, Any]
) -> None:
    """The first 200 epochs are those of Standard: same method, optimizer, rates and batches, so the same net."""
    recipe, standard = paper.recipes[name], paper.recipes["ma2025_ch3"]
    before, after = recipe.in_force(199), recipe.in_force(200)
    assert (before.method, before.optimizer) == ("standard", standard.optimizer)
    assert learning_rates(recipe)[:3] == learning_rates(standard)
    assert (recipe.augmentation, recipe.batch_size) == (standard.augmentation, standard.batch_size)
    assert after.method == method and parameters.items() <= after.parameters.items()
    assert not after.keep_state and recipe.select == "last"


def test_mma_takes_iterations_of_fifty_thousand(paper: Experiment) -> None:
    recipe = paper.recipes["ma2025_mma"]
    assert abs(recipe.epochs * STEPS - 50_000) < STEPS / 2
    for phase, iterations in zip(recipe.phases, (20_000, 30_000, 40_000), strict=True):
        assert abs(recipe.epoch(phase.at) * STEPS - iterations) <= STEPS
        assert phase.keep_state


def test_training_attacks(paper: Experiment) -> None:
    """Ten steps of 2/255 at 8/255; in L2 0.44 at 1.74; TRADES and MART start at x + 0.001 N(0, I), in eval mode."""
    for name, attack, start_std in (
        ("ma2025_ch3-pgd10", "pgd", None),
        ("ma2025_trades", "kl_pgd", 0.001),
        ("ma2025_trades-mart", "pgd", 0.001),
        ("ma2025_ch3-pgd10_l2", "pgd", None),
        ("ma2025_trades-l2", "kl_pgd", 0.001),
    ):
        spec = paper.attacks[str(paper.recipes[name].attack)]
        l2 = name.endswith("l2")
        assert (spec.attack, spec.norm, spec.model_mode) == (attack, "L2" if l2 else "Linf", "eval")
        assert spec.parameters["steps"] == 10
        assert spec.parameters["rel_step_size"] * (1.74 if l2 else 8 / 255) == pytest.approx(0.44 if l2 else 2 / 255)
        if start_std is None:
            assert spec.parameters["random_start"]
            assert spec.parameters["start"] == "ball"
        else:
            assert spec.parameters["start"] == "gaussian" and spec.parameters["start_std"] == start_std


def test_evaluation_attacks(paper: Experiment) -> None:
    for steps in (20, 100, 200, 1000):
        spec = paper.attacks[f"ma2025_pgd{steps}"]
        assert spec.parameters["steps"] == steps and spec.parameters["rel_step_size"] * 8 == 2
        assert spec.parameters["random_start"] and spec.parameters["restarts"] == 1
    spec = paper.attacks["ma2025_pgd20_50"]
    assert (spec.parameters["steps"], spec.parameters["restarts"]) == (20, 50)
    assert paper.attacks["ma2025_pgd100_l2"].parameters["rel_step_size"] * 100 == pytest.approx(2.5)
    assert paper.attacks["ma2025_pgd20_unit"].parameters["step_size"] == pytest.approx(2 / 255)


def test_only_pgd10_chooses_its_epoch(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    recipes = paper.recipe_names("ma2025", [name for name in study.runs if name.startswith("ch3_")])
    selected = {name for name in recipes if paper.recipes[name].select != "last"}
    assert selected == {"ma2025_ch3-pgd10", "ma2025_ch3-pgd10_l2"}


def test_seeds_sweeps_and_nets(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    for name, runs in study.runs.items():
        if name.startswith("ch3_"):
            assert all(one.seeds == ([3] if "source" in name else [0, 1, 2]) for one in runs)
    swept = {
        key: sorted(paper.recipes[name].parameters[key] for name in paper.recipe_names("ma2025", [runs]))
        for runs, key in (("ch3_trades", "beta"), ("ch3_mma", "rel_margin"))
    }
    assert swept["beta"] == [1, 2, 4, 5, 6, 8, 10]
    assert [round(8 * share) for share in swept["rel_margin"]] == [8, 12, 16, 20, 24, 32]
    for name in ("ch3_mart", "ch3_trades_l2"):
        assert (
            sorted(paper.recipes[r].parameters["beta"] for r in paper.recipe_names("ma2025", [name])) == swept["beta"]
        )
    for name in ("resnet10", "cnn6", "cnn8", "wide_resnet_28_10_raw"):
        assert paper.architectures[name].normalisation == "none"
    assert paper.architectures["resnet10"].parameters == {"width": 64, "norm": "none"}
