"""Recipes at a scale: each size reaches what it names, and of several patterns the last one counts."""

from __future__ import annotations

from typing import Any

import pytest

from robustscape.config.recipes import Recipe, RecipeSizes
from robustscape.config.sizing import RECIPE_TAKES, resize_recipe


def make_recipe(**changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "method": "adversarial",
        "attack": "pgd",
        "optimizer": {"name": "entropy_sgd", "parameters": {"lr": 0.1, "inner_steps": 20}},
        "phases": [
            {"at": 0.3, "method": "standard"},
            {"at": 0.5, "optimizer": {"name": "sgd", "parameters": {"lr": 0.01}}},
        ],
        "epochs": 10,
        "probes": {
            "loss": {"name": "loss", "parameters": {"split": "train", "samples": 500}},
        },
    }
    return Recipe.model_validate(content | changes)


def resized(recipe: Recipe, **patterns: dict[str, Any]) -> Recipe:
    sizes = {pattern.replace("_STAR", "*"): RecipeSizes.model_validate(size) for pattern, size in patterns.items()}
    return resize_recipe("w_r", recipe, sizes)


def test_the_rate_and_the_inner_steps_change_in_every_phase() -> None:
    recipe = resized(make_recipe(), w_STAR={"lr_factor": 10, "inner_steps": 5})
    assert recipe.optimizer.parameters["lr"] == pytest.approx(1.0) and recipe.optimizer.parameters["inner_steps"] == 5
    assert recipe.phases[0].optimizer is None
    assert recipe.phases[1].optimizer is not None
    assert recipe.phases[1].optimizer.parameters["lr"] == pytest.approx(0.1)
    assert "inner_steps" not in recipe.phases[1].optimizer.parameters
    assert recipe.in_force(9).optimizer.parameters["lr"] == pytest.approx(0.1)
    assert resized(make_recipe(), w_STAR={"inner_steps": 5}).optimizer.parameters["lr"] == 0.1


def test_of_several_patterns_the_last_counts_and_factors_are_not_multiplied() -> None:
    recipe = resized(make_recipe(), w_STAR={"lr_factor": 10, "epochs": 3}, w_r={"lr_factor": 2}, other={"epochs": 1})
    assert recipe.optimizer.parameters["lr"] == pytest.approx(0.2)
    assert recipe.epochs == 3
    traced = make_recipe(traces={"d": {"name": "distance"}}, traced_updates={"first": 100, "last": 80})
    sized = resized(traced, w_STAR={"traced_updates": 10}, w_r={"traced_updates": 90})
    assert (sized.traced_updates.first, sized.traced_updates.last) == (90, 80)


def test_a_recipe_without_sizes_is_the_works_own() -> None:
    recipe = make_recipe()
    assert resized(recipe, other={"epochs": 1}) == recipe
    assert resized(recipe, w_STAR={"lr_factor": 1, "epochs": 10}) == recipe


@pytest.mark.parametrize("size", RECIPE_TAKES)
def test_a_recipe_takes_a_size_exactly_if_the_size_changes_it(size: str) -> None:
    plain = {"name": "sgd", "parameters": {"lr": 0.1}}
    without = make_recipe(optimizer=plain, phases=[], probes={})
    value: dict[str, Any] = {size: 3}
    takes = RECIPE_TAKES[size][0]
    for recipe in (
        make_recipe(),
        without,
        make_recipe(traces={"d": {"name": "distance"}}, traced_updates={"first": 9}),
        make_recipe(recalibrate=9),
    ):
        if size != "traced_updates":
            assert takes(recipe) == (resized(recipe, w_STAR=value) != recipe), size
    assert not RECIPE_TAKES["traced_updates"][0](without)
    assert RECIPE_TAKES["traced_updates"][0](make_recipe(traces={"d": {"name": "distance"}}))
