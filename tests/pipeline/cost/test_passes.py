"""The formulas of passes against passes that are counted while methods, optimizers and attacks run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.pipeline.cost import passes
from robustscape.pipeline.cost.passes import MEASUREMENTS, Measured, Task, attack_passes, update_passes
from robustscape.training import loop

TASK = Task(classes=5, coordinates=36)
PGD = AttackSpec(attack="pgd", parameters={"steps": 4, "step_size": 0.01})


class Counted:
    """Passes so far, in forward passes of a sample: a backward pass to the weights counts twice."""

    passes = 0.0


@contextmanager
def counting(model: nn.Module) -> Iterator[Counted]:
    counted = Counted()

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        counted.passes += len(output)
        backward = 2.0 if any(weight.requires_grad for weight in module.parameters()) else 1.0
        if output.requires_grad:
            output.register_hook(lambda gradient: add(backward * len(gradient)))

    def add(samples: float) -> None:
        counted.passes += samples

    handle = model.register_forward_hook(hook)
    try:
        yield counted
    finally:
        handle.remove()


def counted_update(recipe: Recipe, attacks: dict[str, AttackSpec]) -> float:
    """Passes of an update on a sample, counted over an epoch of training."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.Softplus(), nn.Linear(12, 5))
    x = torch.randint(0, 256, (32, 1, 6, 6), dtype=torch.uint8)
    split = Split(x, torch.arange(32) % 5, 255.0)
    with counting(model) as counted:
        loop.train(model, split, split, recipe, attacks, 0.1, 0, progress=False)
    return counted.passes / 32


def a_recipe(method: str, optimizer: str = "sgd", attack: str | None = None, **parameters: Any) -> Recipe:
    own = {"sgd": {}, "entropy_sgd": {"inner_steps": 2}}.get(optimizer, {})
    named, _, how = optimizer.partition(":")
    extra = {
        key: float(value) if "." in value else int(value) for key, value in (p.split("=") for p in how.split() if p)
    }
    return Recipe.model_validate(
        {
            "method": method,
            "parameters": parameters,
            "attack": attack,
            "optimizer": {"name": named, "parameters": {"lr": 0.01, **own, **extra}},
            "epochs": 1,
            "batch_size": 16,
        }
    )


@pytest.mark.parametrize(
    ("method", "attack", "parameters"),
    [
        ("standard", None, {}),
        ("adversarial", PGD, {}),
        ("trades", AttackSpec(attack="kl_pgd", parameters={"steps": 4, "step_size": 0.01}), {}),
        ("mart", PGD, {}),
        ("bat", PGD, {"bridges": 3}),
        ("targeted_adversarial", PGD, {"hierarchies": [[2, 3]]}),
    ],
)
def test_methods(method: str, attack: AttackSpec | None, parameters: dict[str, Any]) -> None:
    recipe = a_recipe(method, attack="own" if attack else None, **parameters)
    counted = counted_update(recipe, {"own": attack} if attack else {})
    assert counted == pytest.approx(update_passes(recipe.in_force(0), attack, TASK), abs=0.1)


def test_checkpoints_test_only_samples_that_are_still_right() -> None:
    recipe = a_recipe("single_step_checkpoints", attack="own", checkpoints=5)
    counted = counted_update(recipe, {"own": PGD})
    most = update_passes(recipe.in_force(0), PGD, TASK)
    assert most - 4 <= counted <= most


@pytest.mark.parametrize(("method", "share"), [("gradalign", 0.5), ("foar", 0.5), ("soar", 0.5), ("mma", 0.05)])
def test_methods_that_differentiate_twice_cost_more_than_the_passes_that_begin(method: str, share: float) -> None:
    """A hook sees a backward pass begin, and not that it goes through another one; samples that are wrong leave mma."""
    recipe = a_recipe(method, attack="own")
    counted = counted_update(recipe, {"own": PGD})
    estimated = update_passes(recipe.in_force(0), PGD, TASK)
    assert share * estimated <= counted <= 1.1 * estimated


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        "adam",
        "entropy_sgd",
        "entropy_sgd:awp_gamma=0.1",
        "awp",
        "sam",
        "sam:steps=3",
        "msam:steps=3",
        "asam",
        "gsam",
    ],
)
def test_optimizers(optimizer: str) -> None:
    recipe = a_recipe("standard", optimizer)
    assert counted_update(recipe, {}) == pytest.approx(update_passes(recipe.in_force(0), None, TASK), abs=0.1)


def test_esam_takes_part_of_the_samples() -> None:
    recipe = a_recipe("standard", "esam:beta=1.0 gamma=0.5")
    counted = counted_update(recipe, {})
    assert counted == pytest.approx(update_passes(recipe.in_force(0), None, TASK), rel=0.1)


ATTACKS: list[tuple[str, dict[str, Any]]] = [
    ("random_noise", {}),
    ("fgsm", {}),
    ("pgd", {"steps": 6, "step_size": 0.01}),
    ("pgd", {"steps": 3, "step_size": 0.01, "restarts": 3}),
    ("pgd", {"steps": 5, "step_size": 0.01, "start": "gaussian"}),
    ("kl_pgd", {"steps": 5, "step_size": 0.01}),
    ("bim", {"steps": 5, "step_size": 0.01}),
    ("cw_linf", {"steps": 5, "step_size": 0.01}),
    ("cw_l2", {"steps": 5, "search_steps": 1}),
    ("cw_l2", {"steps": 5, "search_steps": 3}),
    ("apgd", {"iterations": 20}),
    ("apgd", {"iterations": 20, "restarts": 2}),
    ("apgd", {"iterations": 20, "loss": "dlr_targeted", "n_target_classes": 3}),
    ("fab", {"iterations": 10, "n_target_classes": 3}),
    ("square", {"queries": 60}),
    ("simba", {}),
    ("mi_fgsm", {"steps": 5, "step_size": 0.01}),
    ("vmi_fgsm", {"steps": 4, "samples": 3, "step_size": 0.01}),
    ("si_ni_fgsm", {"steps": 4, "copies": 3, "step_size": 0.01}),
]


@pytest.mark.parametrize(("name", "parameters"), ATTACKS, ids=lambda value: str(value))
def test_attacks_on_a_net_that_none_breaks(
    name: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "STAYS", 1.0)
    known = catalog.find_entry("attack", name).parameters.model_fields
    spec = AttackSpec(attack=name, parameters={k: v for k, v in parameters.items() if k in known})
    torch.manual_seed(0)
    linear = nn.Linear(36, 5)
    with torch.no_grad():
        linear.weight.mul_(0.2)
        linear.bias.copy_(torch.tensor([20.0, 3, 2, 1, 0]))
    model = nn.Sequential(nn.Flatten(), linear).eval()
    x = 0.2 + 0.6 * torch.rand(4, 1, 6, 6)
    attack = catalog.load_function("attack", name)
    with counting(model) as counted, frozen(model):
        attack(
            model,
            x,
            torch.zeros(4, dtype=torch.long),
            ThreatModel("Linf", 0.1),
            SampleGenerator.seeded(0, 4),
            **spec.parameters,
        )
    estimated = attack_passes(spec, TASK)
    assert counted.passes / 4 <= 1.05 * estimated + 2
    assert counted.passes / 4 >= (0.5 if name in ("square", "fab", "simba") else 0.9) * estimated - 1


def test_what_is_not_named_is_taken_for_what_it_resembles() -> None:
    """A plug-in's method is adversarial training, its optimizer SGD."""
    recipe = a_recipe("adversarial", attack="own")
    now = recipe.in_force(0)
    stranger = now._replace(method="mine", optimizer=now.optimizer.model_copy(update={"name": "mine"}))
    assert update_passes(stranger, PGD, TASK) == update_passes(now, PGD, TASK) == 2 * 4 + 3
    assert update_passes(now, PGD, TASK, eps=0) == 3


def test_formulas_of_measurements_name_what_exists() -> None:
    there = {*catalog.catalog_entries("measurement"), *catalog.catalog_entries("comparison")}
    assert set(MEASUREMENTS) <= there


def test_a_curve_attacks_at_every_point() -> None:
    def measured(**arguments: Any) -> Measured:
        return Measured({"attack": PGD, **arguments}, TASK, 1000, 100, 11.0, 10, 0.1)

    def passes_of(name: str, **arguments: Any) -> float:
        return passes.measurement_passes(name, measured(**arguments))

    assert passes_of("accuracy") == (1000 + 100) * 9, "both splits"
    assert passes_of("loss_surface_1d", points=5) == 100 * 5 * (8 + 2)
    assert passes_of("loss_surface_1d", points=5, inside="frozen") == 100 * (5 * 2 + 8)
    assert passes_of("margins", split="train", samples=300) == 300 * (8 + 2)
    assert passes_of("errors_under_attacks", attacked_samples=10) == 100 + 10 * 9
    surface = passes_of("eigenvector_surface", points=5, axes="random", samples=10)
    hessian = passes_of("eigenvector_surface", points=5, axes="eigenvectors", samples=10, hessian_samples=5000)
    assert hessian - surface == 1000 * (8 + passes.PRODUCT * 30), "of no more samples than there are"


def test_a_net_that_is_not_attacked_takes_clean_passes_alone() -> None:
    def passes_of(name: str, **arguments: Any) -> float:
        return passes.measurement_passes(name, Measured({"attack": PGD, **arguments}, TASK, 1000, 100, 11.0, 10, 0.0))

    assert passes_of("margins", eps="run") == 100 * 2
    assert passes_of("margins", eps=0.1) == 100 * (8 + 2)
    assert passes_of("loss_surface_1d", eps="run", points=5) == 100 * 5


def test_samples_leave_a_suite_where_an_attack_breaks_them() -> None:
    later = passes.suite_passes([PGD, PGD], TASK) - passes.suite_passes([PGD], TASK)
    assert later == passes.STAYS * (8 + 1)
    square = AttackSpec(attack="square", parameters={"queries": 60})
    assert passes.suite_passes([PGD, square], TASK) == 1 + 9 + attack_passes(square, TASK) + 1
    levels: dict[str, Any] = {
        "variances": [0.1],
        "l2": [],
        "linf": [0.1, 0.2, 0.3],
        "suite": Suite(name="one", attacks=(("pgd", PGD),)),
    }

    def severity(top: list[int]) -> float:
        measured = Measured({**levels, "top": top}, TASK, 1000, 100, 11.0, 10, 0.1)
        return passes.measurement_passes("accuracy_by_severity", measured) - 100 * 2

    assert severity([1, 5]) == 100 * 3 * 10
    assert severity([1]) == 100 * (1 + passes.STAYS + passes.STAYS**2) * 10


def test_a_frozen_encoder_is_passed_forward_alone() -> None:
    now = a_recipe("standard").in_force(0)
    frozen = Task(classes=5, coordinates=36, weight_gradient=1.0)
    assert (update_passes(now, None, TASK), update_passes(now, None, frozen)) == (3, 1)
