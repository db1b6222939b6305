"""Protocols of kim2023, chapters 4 and 5, in the effective configuration at `paper`: sections 4.4.2 and 5.4.1 and the spec.

The numbers below are written by hand from the thesis, and from the spec where the thesis is silent: recipes that inherit from, or
vary, another have them in no one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from robustscape.config.experiment import Experiment, Planned
from robustscape.config.loading import load_experiment
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]
STUDY = "kim2023"

#: What all recipes of a family have in common.
PLAIN = {
    "dataset": "cifar10",
    "architecture": "resnet18",
    "net": {"width": 64, "norm": "none"},
    "epochs": 300,
    "batch_size": 512,
    "crop": 0,
    "flip": False,
    "cutout": 0,
    "lr": 0.05,  # silent
    "momentum": 0.0,
    "weight_decay": 5e-4,  # silent
}
RESNET = {"dataset": "cifar10", "architecture": "resnet18", "net": {"width": 64, "norm": "batch"}}
#: Table 4.1 turns normalisation and augmentation on; else section 4.4.2 has one setting ("all the models are trained for 300
#: epochs", batches of 512 "as default"). Learning rate and weight decay are silent.
MOMENTUM = RESNET | {"epochs": PLAIN["epochs"], "batch_size": PLAIN["batch_size"], "crop": 4, "flip": True, "cutout": 0}
MOMENTUM |= {"lr": 0.1, "weight_decay": 5e-4}
#: Cutout is named without its side; Foret et al., whose settings the section "basically" follows, have 16 for both data sets.
C10 = MOMENTUM | {"epochs": 200, "batch_size": 128, "cutout": 16, "momentum": 0.9}
C100 = C10 | {
    "dataset": "cifar100",
    "architecture": "wide_resnet",
    "net": {"depth": 28, "width": 10, "base": 16},
    "batch_size": 256,
    "weight_decay": 1e-3,
}


def sam(rho: float, steps: int = 1) -> dict[str, Any]:
    return {"optimizer": "sam", "rho": rho, "steps": steps, "perturbation": "normalised"}


def msam(rho: float) -> dict[str, Any]:
    return {"optimizer": "msam", "rho": rho, "steps": 2, "perturbation": "normalised"}


SGD = {"optimizer": "sgd", "nesterov": False}


def esam(rho: float, beta: float) -> dict[str, Any]:
    return {"optimizer": "esam", "rho": rho, "beta": beta, "gamma": 0.5, "seed": None}


def gsam(rho: float) -> dict[str, Any]:
    return {"optimizer": "gsam", "rho": rho, "alpha": 0.1}


def asam(rho: float) -> dict[str, Any]:
    return {"optimizer": "asam", "rho": rho, "eta": 0.01}


BATCHES, MOMENTA = (64, 128, 256, 512), (0.0, 0.5, 0.9, 0.95)

#: Run list -> what its runs are trained with, one entry for the three seeds.
PROTOCOLS: dict[str, list[dict[str, Any]]] = {
    "ch4_plain_batch": [PLAIN | sam(0.1) | {"batch_size": b} for b in BATCHES],
    "ch4_plain_momentum": [PLAIN | sam(0.1) | {"momentum": g} for g in MOMENTA],
    "ch4_plain_batch_c100": [PLAIN | sam(0.1) | {"batch_size": b, "dataset": "cifar100"} for b in BATCHES],
    "ch4_plain_momentum_c100": [PLAIN | sam(0.1) | {"momentum": g, "dataset": "cifar100"} for g in MOMENTA],
    "ch4_plain_sgd_batch": [PLAIN | SGD | {"batch_size": b} for b in BATCHES],
    "ch4_plain_sgd": [PLAIN | SGD | {"momentum": g} for g in MOMENTA],
    "ch4_plain_same_rate": [
        PLAIN | method | {"momentum": g, "lr": 0.05 * (1 - g)} for method in (sam(0.1), SGD) for g in MOMENTA
    ],
    "ch4_plain_constant": [
        PLAIN | sam(0.1) | {"perturbation": "constant", **changed}
        for changed in ({"batch_size": 64}, {"batch_size": 512}, {"momentum": 0.0}, {"momentum": 0.9})
    ],
    "ch4_radius_momentum": [
        MOMENTUM | sam(rho) | {"momentum": g} for rho in (0.01, 0.05, 0.1, 0.5) for g in (0.0, 0.9, 0.95)
    ],
    "ch5_sam": [C10 | sam(0.1)],
    "ch5_ascents": [C10 | sam(0.1, n) for n in (1, 2, 3)] + [C100 | sam(0.5, n) for n in (1, 2, 3)],
    "ch5_sgd": [C10 | SGD, C100 | SGD],
    "ch5_vanilla": [C10 | SGD],
    "ch5_radius_of_sam": [C10 | m for m in (sam(0.1), esam(0.1, 0.6), gsam(0.1), asam(0.1), msam(0.1))]
    + [C100 | m for m in (sam(0.5), esam(0.5, 0.5), gsam(0.5), asam(0.5), msam(0.5))],
    "ch5_radius_of_authors": [C10 | m for m in (sam(0.05), esam(0.05, 0.6), gsam(0.05), asam(0.5), msam(0.1))]
    + [C100 | m for m in (sam(0.1), esam(0.1, 0.5), gsam(0.05), asam(1.0), msam(0.2))],
    "ch5_switch": [C10 | sam(0.1) | {"switch": (epoch, msam(0.1))} for epoch in (100, 125, 150, 175)],
    "ch5_radii": [C10 | sam(rho) for rho in (0.05, 0.1, 0.2, 0.5)],
    "ch5_large_radius": [C10 | sam(0.5)],
    "ch5_two": [C10 | sam(0.1, n) for n in (1, 2)] + [C100 | sam(0.5, n) for n in (1, 2)],
}


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def effective(experiment: Experiment, planned: Planned) -> dict[str, Any]:
    """What a run is trained with, in the words of ``PROTOCOLS``."""
    recipe, net = experiment.recipes[planned.run.recipe], experiment.architectures[planned.run.architecture]
    assert (recipe.method, recipe.attack, planned.run.eps) == ("standard", None, 0)
    assert (recipe.lr_schedule.kind, recipe.select, net.normalisation) == ("cosine", "last", "dataset")
    found = {
        "dataset": planned.run.dataset,
        "architecture": net.architecture,
        "net": net.parameters,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        **recipe.augmentation.model_dump(),
        "optimizer": recipe.optimizer.name,
        **recipe.optimizer.parameters,
    }
    for phase in recipe.phases:
        assert phase.optimizer is not None and phase.method is None and phase.keep_state and "switch" not in found
        own = {
            key: value
            for key, value in phase.optimizer.parameters.items()
            if key not in ("lr", "momentum", "weight_decay")
        }
        same = {key: phase.optimizer.parameters[key] for key in ("lr", "momentum", "weight_decay")}
        assert same == {key: recipe.optimizer.parameters[key] for key in same}
        found["switch"] = (phase.at * recipe.epochs, {"optimizer": phase.optimizer.name} | own)
    return found


def in_words(entries: Iterable[dict[str, Any]]) -> list[str]:
    """Each different entry once, its numbers to 12 digits."""
    return sorted({str(sorted(pythonic(entry).items())) for entry in entries})


def pythonic(value: Any) -> Any:
    match value:
        case dict():
            return {key: pythonic(part) for key, part in sorted(value.items())}
        case tuple():
            return tuple(pythonic(part) for part in value)
        case bool() | None | str():
            return value
        case _:
            return float(f"{value:.12g}")


def test_every_run_list_of_both_chapters_is_in_the_table(paper: Experiment) -> None:
    assert {name for name in paper.studies[STUDY].runs if name.startswith(("ch4_", "ch5_"))} == set(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_runs_are_trained_as_the_thesis_says(paper: Experiment, name: str) -> None:
    """Every hyper-parameter of every run, three seeds of each."""
    seeds: dict[str, set[int]] = {}
    found: dict[str, dict[str, Any]] = {}
    for planned in paper.runs(STUDY, name):
        run = f"{planned.run.dataset}/{planned.run.recipe}"
        seeds.setdefault(run, set()).add(planned.run.seed)
        found[run] = effective(paper, planned)
    assert set(map(frozenset, seeds.values())) == {frozenset({0, 1, 2})}
    assert in_words(found.values()) == in_words(PROTOCOLS[name])


@pytest.mark.parametrize(
    "name", ["kim2023_sam_plain", "kim2023_sam_momentum", "kim2023_sam_c10", "kim2023_sam_c100-msam"]
)
def test_the_rate_falls_to_zero_by_a_cosine_over_all_epochs(paper: Experiment, name: str) -> None:
    recipe = paper.recipes[name]
    for done in (0.0, 0.25, 0.5, 0.9, 0.999):
        assert schedule_factor(recipe.lr_schedule, done, recipe.epochs) == pytest.approx(
            (1 + math.cos(math.pi * done)) / 2
        )


def measured(experiment: Experiment, name: str) -> dict[str, Any]:
    """The parameters of a measurement of a study, defaults included."""
    parameters, resized = experiment.sized(STUDY, name, experiment.studies[STUDY].measurements[name])
    assert not resized
    return parameters


def test_what_is_measured_and_where(paper: Experiment) -> None:
    profile, plane, cosines, decrease, perturbed, cosine = (
        measured(paper, f"ch5_{name}")
        for name in ("profile", "plane", "cosine_plane", "decrease", "perturbed", "cosine")
    )
    assert profile["steps"] == [1, 2, 3, 5] and profile["points"] == 41
    assert plane["measure"] == "perturbed_loss" and plane["points"] == cosines["points"] == 21
    assert cosines["measure"] == "gradient_cosine"
    assert decrease["rates"] == [0.01, 0.1]
    assert perturbed["steps"] == [0, 1, 3, 5] and perturbed["samples"] is None
    assert {entry["rho"] for entry in (profile, plane, cosines, decrease, perturbed, cosine)} == {"run"}
    assert {entry["batch"] for entry in (profile, plane, cosines, decrease, perturbed, cosine)} == {"run"}


@pytest.mark.parametrize("rho", [0.05, 0.1, 0.2, 0.5])
def test_the_probe_of_figure_5_4_has_the_radius_of_training(paper: Experiment, rho: float) -> None:
    (name,) = {p.run.recipe for p in paper.runs(STUDY, "ch5_radii") if effective(paper, p)["rho"] == rho}
    assert paper.recipes[name].probes["gradient_cosine"].parameters["rho"] == rho
