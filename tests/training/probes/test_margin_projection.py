"""The probes of kim2023's figures 3.9 and 3.12 measure the loss that the recipe trains with, on what it trains with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Probe, Recipe
from robustscape.evaluation.loss_projections import term_gradients

ROOT = Path(__file__).parents[3]
SCALES = ("smoke", "small", "paper")

#: The terms of each method's loss, with their factors (kim2023 equations 3.7 and 3.8, algorithm 2).
TERMS: dict[str, Any] = {
    "adversarial": lambda parameters: {"adversarial": 1.0},
    "trades": lambda parameters: {"natural": 1.0, "smoothness": parameters["beta"]},
    "bat": lambda parameters: {"natural": 1.0, "bridged": parameters["beta"]},
}


def probed_recipes() -> list[tuple[str, str, str]]:
    """Every (scale, recipe, column) with a probe of this kind."""
    return [
        (scale, name, column)
        for scale in SCALES
        for name, recipe in load_experiment(ROOT / "config", scale).recipes.items()
        for column, probe in recipe.probes.items()
        if probe.name == "margin_projection"
    ]


def find_probe(scale: str, name: str, column: str) -> tuple[Recipe, Probe]:
    recipe = load_experiment(ROOT / "config", scale).recipes[name]
    return recipe, recipe.probes[column]


@pytest.mark.parametrize(("scale", "name", "column"), probed_recipes())
def test_effective_weights_are_the_terms_of_the_recipes_own_method(scale: str, name: str, column: str) -> None:
    """A weight taken over from the recipe that this one extends would add another method's term."""
    recipe, probe = find_probe(scale, name, column)
    weights, terms = probe.parameters["weights"], TERMS[recipe.method](recipe.parameters)
    if column == "expected_margin_increase":
        assert weights == terms
    else:
        (term,) = weights
        assert weights == {term: 1.0} and term in terms and column == f"{term}_projection"
    assert probe.parameters["attack"] == recipe.attack, "x* is that of the loss"
    if "bridged" in weights:
        assert probe.parameters["bridges"] == recipe.parameters["bridges"]


def test_there_are_such_probes_of_three_methods() -> None:
    found = {find_probe(*place)[0].method for place in probed_recipes() if place[2] == "expected_margin_increase"}
    assert found == set(TERMS)


@pytest.mark.parametrize(("scale", "name", "column"), [place for place in probed_recipes() if place[0] == "paper"])
def test_the_weighted_terms_have_the_gradient_of_the_training_loss(scale: str, name: str, column: str) -> None:
    recipe, probe = find_probe(scale, name, column)
    if column != "expected_margin_increase":
        return
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    x, y = torch.rand(20, 1, 3, 3, dtype=torch.float64), torch.randint(4, (20,))
    x_adv = (x + 0.3 * torch.randn_like(x)).clamp(0, 1)

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return x_adv

    objective = catalog.load_function("method", recipe.method)(model, x, y, attack, **recipe.parameters)
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(objective(), list(model.parameters()))])
    parts = term_gradients(model, x, x_adv, y, probe.parameters["bridges"])
    ours = sum(weight * parts[term] for term, weight in probe.parameters["weights"].items())
    torch.testing.assert_close(ours, whole)
