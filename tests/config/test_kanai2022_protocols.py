"""Protocols of kanai2022 in the effective configuration: every number that its text gives, and equal terms for its methods."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Optimizer, Recipe
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]
TEXT = pd.read_csv(ROOT / "resources/paper/kanai2022_text_numbers.csv", float_precision="round_trip")


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


#: Context and data set of the text -> run lists of its experiment. Those of the work's WideResNet have the same numbers.
LISTS: dict[tuple[str, str], list[str]] = {
    ("training", "cifar10"): ["cifar10", "cifar10_second", "cifar10_awp_small", "cifar10_wrn"],
    ("training", "cifar100"): ["cifar100"],
    ("training", "svhn"): ["svhn"],
    ("trades", "cifar10"): ["trades"],
}
#: Run lists whose methods are compared with each other.
COMPARED = ("cifar10", "cifar10_wrn", "svhn", "cifar100", "trades")


def context_of(row: Any) -> tuple[str, str]:
    return ("trades" if row.context == "trades" else "training", row.dataset)


def recipes_of(paper: Experiment, lists: Iterable[str]) -> dict[str, Recipe]:
    return {name: paper.recipes[name] for name in sorted(paper.recipe_names("kanai2022", lists))}


def late_optimizer(recipe: Recipe) -> Optimizer:
    """The optimizer of epochs 20 to 140, after every start with plain SGD and before the switch of the tuned recipe."""
    return recipe.in_force(100).optimizer


def all_optimizers(recipe: Recipe) -> list[Optimizer]:
    return [recipe.optimizer, *(phase.optimizer for phase in recipe.phases if phase.optimizer)]


def is_ensgd(recipe: Recipe) -> bool:
    return late_optimizer(recipe).name == "entropy_sgd"


def perturbs_weights(recipe: Recipe) -> bool:
    optimizer = late_optimizer(recipe)
    return optimizer.name == "awp" or optimizer.parameters.get("awp_gamma", 0) > 0


def is_tuned(recipe: Recipe) -> bool:
    return recipe.in_force(160).optimizer.name != late_optimizer(recipe).name


#: Method of the text -> whether a recipe is one of it.
METHODS = {
    "all": lambda r: True,
    "awp": lambda r: perturbs_weights(r) and not is_ensgd(r),
    "ensgd": lambda r: is_ensgd(r) and not perturbs_weights(r),
    "awp+ensgd": lambda r: is_ensgd(r) and perturbs_weights(r) and not is_tuned(r),
    "awp+ensgd(tuned)": is_tuned,
    # "we did not apply EntropySGD and AWP for 5 epochs": every recipe with either
    "awp|ensgd": lambda r: is_ensgd(r) or perturbs_weights(r),
    "awp|awp+ensgd|awp+ensgd(tuned)": perturbs_weights,
    "ensgd|awp+ensgd(tuned)": lambda r: is_tuned(r) or (is_ensgd(r) and not perturbs_weights(r)),
}


def falls(recipe: Recipe) -> list[int]:
    """Epochs after which the learning rate falls."""
    factors = [schedule_factor(recipe.lr_schedule, epoch / recipe.epochs, recipe.epochs) for epoch in range(200)]
    return [epoch for epoch in range(1, 200) if factors[epoch] != factors[epoch - 1]]


def first_epoch_of(recipe: Recipe) -> int:
    """Epochs of plain SGD before the recipe's own optimizer comes in."""
    assert recipe.in_force(0).optimizer.name == "sgd"
    return next(epoch for epoch in range(200) if recipe.in_force(epoch).optimizer.name != "sgd")


def training_attack(paper: Experiment, recipe: Recipe) -> Any:
    return paper.attacks[str(recipe.attack)].parameters


def selection_attack(paper: Experiment, recipe: Recipe) -> Any:
    return paper.attacks[recipe.probes["robust_test_accuracy"].parameters["attack"]].parameters


def step_size(paper: Experiment, row: Any, recipe: Recipe, eps: float) -> float:
    chosen = selection_attack if row.context == "evaluation" else training_attack
    return float(chosen(paper, recipe)["rel_step_size"]) * eps


#: Metric of the text -> its values in a recipe, given (experiment, row, recipe, eps).
SETTINGS: dict[str, Any] = {
    "learning_rate": lambda p, row, r, eps: [o.parameters["lr"] for o in all_optimizers(r)],
    "momentum": lambda p, row, r, eps: [o.parameters["momentum"] for o in all_optimizers(r)],
    "weight_decay": lambda p, row, r, eps: [o.parameters["weight_decay"] for o in all_optimizers(r)],
    "lr_decay_factor": lambda p, row, r, eps: [r.lr_schedule.gamma],
    "lr_milestone_1": lambda p, row, r, eps: falls(r)[:1],
    "lr_milestone_2": lambda p, row, r, eps: falls(r)[1:],
    "pgd_train_steps": lambda p, row, r, eps: [training_attack(p, r)["steps"]],
    "pgd_eval_steps": lambda p, row, r, eps: [selection_attack(p, r)["steps"]],
    "pgd_step_size_x255": lambda p, row, r, eps: [255 * step_size(p, row, r, eps)],
    "pgd_step_size": lambda p, row, r, eps: [step_size(p, row, r, eps)],
    "warmup_epochs_without_awp_and_ensgd": lambda p, row, r, eps: [first_epoch_of(r)],
    "awp_gamma": lambda p, row, r, eps: [
        late_optimizer(r).parameters["awp_gamma" if is_ensgd(r) else "gamma"],
    ],
    "langevin_iterations_L": lambda p, row, r, eps: [late_optimizer(r).parameters["inner_steps"]],
    "sgld_averaging_alpha": lambda p, row, r, eps: [late_optimizer(r).parameters.get("averaging", 0.75)],
    "switch_to_sgd_epoch": lambda p, row, r, eps: [
        next(epoch for epoch in range(20, 200) if r.in_force(epoch).optimizer.name != "entropy_sgd")
    ],
}

#: Rows of the text that are settings of recipes; of the others, two are results, the rest is standardisation and repeats.
SET = TEXT[TEXT["metric"].isin(list(SETTINGS))]


@pytest.mark.parametrize("row", SET.itertuples(), ids=lambda r: f"{r.context}-{r.dataset}-{r.method}-{r.metric}")
def test_every_setting_of_the_text_is_that_of_the_recipes(paper: Experiment, row: Any) -> None:
    lists = LISTS[context_of(row)]
    eps = {planned.run.recipe: planned.run.eps for name in lists for planned in paper.runs("kanai2022", name)}
    chosen = {name: r for name, r in recipes_of(paper, lists).items() if METHODS[row.method](r)}
    assert chosen, "no recipe is one of this method"
    for name, recipe in chosen.items():
        found = SETTINGS[row.metric](paper, row, recipe, eps[name])
        assert found and found == pytest.approx([row.value] * len(found)), name


def test_every_number_of_the_text_is_looked_at() -> None:
    rest = TEXT[~TEXT["metric"].isin(list(SETTINGS))]
    channel = rest["metric"].str.startswith("channel_")
    assert set(rest[channel]["context"]) == {"preprocessing"}
    assert set(rest[~channel]["metric"]) == {"repeats", "training_time_overhead", "robust_accuracy_difference"}


@pytest.mark.parametrize(
    ("item", "metric"), [("table_1", "robust_accuracy_difference"), ("update_cost", "training_time_overhead")]
)
def test_the_results_of_the_text_stand_beside_ours(paper: Experiment, item: str, metric: str) -> None:
    """The text has two numbers that are results; each is a printed number of an item that measures it."""
    (row,) = TEXT[TEXT["metric"] == metric].itertuples()
    assert row.context == "text_claim"
    entry = paper.studies["kanai2022"].items[item]
    (printed,) = pd.read_csv(ROOT / f"resources/paper/{entry.printed}.csv").itertuples()
    assert (printed.metric, printed.value, printed.unit) == (metric, row.value, row.unit)
    assert printed.method.lower() == row.method
    assert metric in entry.metrics
    if item == "table_1":
        (source,) = (source for source in entry.rows if source.minus)
        of, minus = (levels["method"] for levels in (source.where, source.minus))
        assert printed.method == source.label["method"] == f"{of} minus {minus}"
        assert (printed.dataset, printed.architecture) == (row.dataset, row.architecture)
        assert printed.evaluation == source.label["evaluation"]


#: Name of a stand-in of the scale small -> its training images.
IMAGES = {"fashion_mnist600_7": 600, "digits": 1437, "mnist1k_7": 1000}


def updates_of(recipe: Recipe, images: int) -> int:
    """Updates of the weights in a training: Entropy-SGD makes one after ``inner_steps`` batches, its loop runs on over epochs."""
    updates, inner = 0, 0
    for epoch in range(recipe.epochs):
        optimizer = recipe.in_force(epoch).optimizer
        batches = math.ceil(images / (recipe.batch_size or images))
        if optimizer.name == "entropy_sgd":
            inner += batches
            done, inner = divmod(inner, optimizer.parameters["inner_steps"])
            updates += done
        else:
            updates += batches
    return updates


def test_captions_at_small_say_how_many_updates_each_optimizer_makes() -> None:
    small = load_experiment(ROOT / "config", "small")
    counts = []
    for name in ("cifar10", "cifar10_wrn", "svhn", "cifar100"):
        planned = [p.run for p in small.runs("kanai2022", name)]
        found = {
            is_sgd: {
                updates_of(small.recipes[run.recipe], IMAGES[run.dataset])
                for run in planned
                if (small.recipes[run.recipe].in_force(4).optimizer.name != "entropy_sgd") == is_sgd
            }
            for is_sgd in (False, True)
        }
        counts.append(tuple(one for is_sgd in (False, True) for one in found[is_sgd]))
    for item in ("table_1", "table_3"):
        caption = small.studies["kanai2022"].items[item].caption
        said = re.findall(r"(\d+)(?: updates)? and (\d+) \(", caption)
        assert [tuple(map(int, pair)) for pair in said] == counts
        assert "one update of the weights in 5 batches" in caption


@pytest.mark.parametrize(
    "row", TEXT[TEXT["metric"] == "repeats"].itertuples(), ids=lambda r: f"{r.context}-{r.dataset}"
)
def test_every_run_is_repeated(paper: Experiment, row: Any) -> None:
    for name in LISTS[context_of(row)]:
        seeds: dict[str, set[int]] = {}
        for planned in paper.runs("kanai2022", name):
            seeds.setdefault(planned.run.recipe, set()).add(planned.run.seed)
        assert {len(found) for found in seeds.values()} == {int(row.value)}


def test_inputs_are_standardised_as_the_text_says(paper: Experiment) -> None:
    """Of CIFAR the text has the training sets' own values; TRADES has raw pixels (appendix F.2)."""
    kinds = {
        name: {paper.architectures[p.run.architecture].normalisation for p in paper.runs("kanai2022", name)}
        if name != "svhn"
        else {str(paper.architectures[p.run.architecture].normalisation) for p in paper.runs("kanai2022", name)}
        for name in COMPARED
    }
    half = paper.architectures["resnet18_svhn"].normalisation
    assert kinds == {
        "cifar10": {"dataset"},
        "cifar10_wrn": {"dataset"},
        "cifar100": {"dataset"},
        "trades": {"none"},
        "svhn": {str(half)},
    }
    svhn = TEXT[(TEXT["dataset"] == "svhn") & TEXT["metric"].str.startswith("channel_")]
    assert set(svhn["value"]) == {0.5}
    assert half.model_dump() == {"mean": [0.5], "std": [0.5]}  # type: ignore[union-attr]


#: What the text leaves silent, by the codes it builds on (Wu et al. 2020, Chaudhari et al. 2019).
SILENT = {"epochs": 200, "batch_size": 128}


@pytest.mark.parametrize("name", COMPARED)
def test_compared_methods_differ_in_the_method_alone(paper: Experiment, name: str) -> None:
    """Optimizer and phases are the method; everything else is equal, the estimate of batch statistics too."""
    lists = [one for one in paper.studies["kanai2022"].runs if one == name or one.startswith(f"{name}_")]
    lists = [one for one in lists if name != "cifar10" or one not in ("cifar10_wrn", "cifar10_standard")]
    recipes = recipes_of(paper, lists)
    assert len(recipes) >= 5
    free = {"about", "extends", "variants", "factors", "optimizer", "phases"}
    shared = [recipe.model_dump(exclude=free) for recipe in recipes.values()]
    assert all(one == shared[0] for one in shared)
    assert {key: shared[0][key] for key in SILENT} == SILENT
    assert shared[0]["recalibrate"] == 50 and shared[0]["select"] == "robust_test_accuracy"
    kept = {"crop": 0, "flip": False, "cutout": 0} if name == "svhn" else {"crop": 4, "flip": True, "cutout": 0}
    assert shared[0]["augmentation"] == kept
    training, test = (paper.attacks[key] for key in (shared[0]["attack"], "kanai2022_cifar_test"))
    assert training.attack == ("kl_pgd" if name == "trades" else "pgd") and test.attack == "pgd"
    assert training.model_mode == ("eval" if name == "trades" else "train") and test.model_mode == "eval"
    assert training.parameters.get("random_start", True)


@pytest.mark.parametrize("name", COMPARED)
def test_entropy_sgd_has_its_authors_settings(paper: Experiment, name: str) -> None:
    """Gamma 0.03, noise 1e-4, inner rate 0.1, averaging 0.75 but once (F.2), L 20; 30: wide nets but for AWP, TRADES with AWP."""
    found = 0
    for key, recipe in recipes_of(paper, [name]).items():
        if not is_ensgd(recipe):
            continue
        found += 1
        given = late_optimizer(recipe).parameters
        defaults = {"gamma": 0.03, "noise": 1e-4, "inner_lr": 0.1, "averaging": 0.75, "protocol": "release"}
        averaging = {"averaging": 0.3} if key == "kanai2022_trades-awp_ensgd" else {}
        assert {k: given.get(k, v) for k, v in defaults.items()} == defaults | averaging, key
        assert given.get("order", "first") == ("second" if key.endswith("2") else "first")
        thirty = (name == "cifar10_wrn") != perturbs_weights(recipe) and name in ("cifar10_wrn", "trades")
        assert given["inner_steps"] == (30 if thirty else 20), key
    assert found >= 2


def test_weights_are_perturbed_as_far_as_wu_et_al_say(paper: Experiment) -> None:
    """0.01, and 0.005 with TRADES; with Entropy-SGD 0.005 where the text's number is lost."""
    for name in COMPARED:
        for key, recipe in recipes_of(paper, [name]).items():
            if perturbs_weights(recipe):
                optimizer = late_optimizer(recipe)
                found = optimizer.parameters["awp_gamma" if is_ensgd(recipe) else "gamma"]
                if is_ensgd(recipe):
                    assert found == (0.007 if name == "cifar100" else 0.005), key
                else:
                    assert found == (0.005 if name == "trades" else 0.01), key
    small = late_optimizer(paper.recipes["kanai2022_cifar10-awp_small"]).parameters
    ensgd = late_optimizer(paper.recipes["kanai2022_cifar10-awp_ensgd"]).parameters
    assert small["gamma"] == ensgd["awp_gamma"]


def test_first_epochs_without_awp_keep_the_momentum_of_sgd(paper: Experiment) -> None:
    """AWP is SGD with another gradient: its buffer goes on. Entropy-SGD's outer momentum is another quantity."""
    for name in ("svhn", "trades"):
        for recipe in recipes_of(paper, [name]).values():
            for phase in recipe.phases:
                after_sgd = phase is recipe.phases[0] and phase.optimizer and phase.optimizer.name == "awp"
                assert phase.keep_state == bool(after_sgd)


def test_budgets_and_evaluations(paper: Experiment) -> None:
    """8/255, and 0.031 in training with TRADES (lost numbers, by Wu et al. and Zhang et al.); AutoAttack or PGD-20."""
    for name in COMPARED:
        expected = 0.031 if name == "trades" else 8 / 255
        assert {planned.run.eps for planned in paper.runs("kanai2022", name)} == {expected}
    study = paper.studies["kanai2022"]
    for name, entry in study.measurements.items():
        if entry.measure == "robust_suite":
            suite = paper.suites[entry.parameters["suite"]]
            if name.startswith("suite_"):
                assert entry.parameters["suite"] == "autoattack"
                explicit = name.startswith(("suite_trades", "suite_standard"))
                assert entry.parameters.get("eps", "run") == (8 / 255 if explicit else "run"), name
            else:
                probes = [r.probes["robust_test_accuracy"] for r in recipes_of(paper, entry.runs).values()]
                assert {p.parameters["attack"] for p in probes} == set(suite.attacks)
                assert len(suite.attacks) == 1
            assert entry.parameters["samples"] is None


def test_both_batch_statistics_are_measured_alike(paper: Experiment) -> None:
    """Every evaluation of tables 1 to 3 is there with the statistics that training left; nothing else differs."""
    measurements = paper.studies["kanai2022"].measurements
    for name in ("suite_cifar10", "suite_cifar10_wrn", "suite_trades", "pgd_svhn", "pgd_cifar100"):
        anew, left = measurements[name], measurements[f"{name}_as_trained"]
        assert (anew.weights, left.weights) == ("selected", "as_trained")
        assert anew.parameters == left.parameters and set(left.runs) == set(anew.runs) - {"cifar10_sam"}
    curves = {
        name: (probe.parameters, probe.as_trained) for name, probe in paper.recipes["kanai2022_cifar10"].probes.items()
    }
    assert curves["robust_test_accuracy"][0] == curves["robust_test_accuracy_as_trained"][0]
    assert [left for _, left in curves.values()].count(True) == 1
    assert curves["robust_test_accuracy_as_trained"][1]
