"""Protocols of ma2025 chapter 4 in the effective configuration: table 4.2 and appendices 4.A and 4.B."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.reading import read_mapping
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]
ARCHITECTURES = read_mapping(ArchitectureEntry, ROOT / "config" / "architectures.yaml")

#: Initial rates of SGD, Adam and RMSProp as table 4.2 prints them, and the flips of appendix 4.A.
TABLE_4_2 = {
    "mnist": (0.1, 5e-4, 5e-4, False),
    "fashion": (0.1, 5e-4, 5e-4, True),
    "cifar10": (0.2, 2e-4, 5e-4, True),
    "cifar100": (0.3, 5e-4, 5e-4, True),
    "svhn": (0.2, 2e-4, 2e-4, False),
    "caltech101": (0.05, 2e-4, 1e-3, True),
    "imagenette": (0.1, 2e-4, 2e-4, True),
    "speech": (0.1, 0.1, 0.1, False),
}
OPTIMIZERS = ("sgd", "adam", "rmsprop")


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


@pytest.mark.parametrize("data", TABLE_4_2)
def test_the_three_optimizers_differ_in_themselves_and_their_rate_alone(paper: Experiment, data: str) -> None:
    *rates, flip = TABLE_4_2[data]
    recipes = [paper.recipes[f"ma2025_optimizers-{data}_{name}"] for name in OPTIMIZERS]
    for recipe, name, rate in zip(recipes, OPTIMIZERS, rates, strict=True):
        plain = type(recipe.optimizer).model_validate({"name": name, "parameters": {"lr": rate}})
        assert recipe.optimizer == plain, "defaults but for the rate"
        assert recipe.factors == {"optimizer": name}
        assert recipe.augmentation.model_dump() == {"crop": 0, "flip": flip, "cutout": 0}
        assert (recipe.method, recipe.epochs, recipe.batch_size, recipe.select) == ("standard", 200, 128, "last")
        assert recipe.if_diverged == "record"
        factors = [schedule_factor(recipe.lr_schedule, epoch / 200, 200) for epoch in (0, 99.99, 100, 149.99, 150, 199)]
        assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    same = [recipe.model_dump(exclude={"optimizer", "factors", "about", "variants"}) for recipe in recipes]
    assert same[0] == same[1] == same[2]


def test_momentum_is_all_that_table_4_7_changes(paper: Experiment) -> None:
    names = [name for name in paper.recipes if name.startswith("ma2025_optimizers-") and name.endswith("_sgd_momentum")]
    assert len(names) == 5
    for name in names:
        plain, momentum = paper.recipes[name.removesuffix("_momentum")], paper.recipes[name]
        assert momentum.optimizer.parameters == {**plain.optimizer.parameters, "momentum": 0.9}
        hidden = {"optimizer", "factors", "about", "variants"}
        assert plain.model_dump(exclude=hidden) == momentum.model_dump(exclude=hidden)


@pytest.mark.parametrize("data", [name for name in TABLE_4_2 if name != "speech"])
@pytest.mark.parametrize("kind", ["energy", "low_pass"])
def test_filtered_training_is_that_of_sgd(paper: Experiment, data: str, kind: str) -> None:
    plain, filtered = (paper.recipes[f"ma2025_optimizers-{data}_sgd{end}"] for end in ("", f"_{kind}"))
    assert filtered.method == "standard_filtered" and filtered.parameters == {"kind": kind, "percent": 50}
    assert filtered.factors == {"optimizer": "sgd", "filter": kind, "percent": 50}
    hidden = {"method", "parameters", "factors", "about", "variants"}
    assert plain.model_dump(exclude=hidden) == filtered.model_dump(exclude=hidden)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fine_tuning(paper: Experiment, name: str) -> None:
    """Appendix 4.B: 10 epochs, 0.01, a linear warm-up (of one epoch, ours) and cosine decay."""
    recipe = paper.recipes[f"ma2025_optimizers-vit_{name}"]
    assert (recipe.optimizer.name, recipe.optimizer.parameters["lr"], recipe.phases) == (name, 0.01, [])
    assert recipe.lr_schedule.model_dump(exclude_defaults=True) == {"kind": "cosine", "warmup": 0.1}
    assert (recipe.epochs, recipe.batch_size) == (10, 512)
    steps = 19
    rates = [schedule_factor(recipe.lr_schedule, k / (10 * steps), 10, 1 / (10 * steps)) for k in range(10 * steps)]
    assert rates[: steps + 1] == pytest.approx([(k + 1) / (steps + 1) for k in range(steps + 1)])
    assert rates[steps:] == sorted(rates[steps:], reverse=True) and 0 < rates[-1] < 1e-3


def test_nets_are_raw_but_the_transformers_and_normalised_in_table_4_4_alone() -> None:
    for name, norm in (("plain", "none"), ("bn", "batch")):
        for end, stem in (("", "small"), ("_224", "large")):
            entry = ARCHITECTURES[f"preactresnet18_{name}{end}"]
            assert entry.architecture == "preactresnet18" and entry.normalisation == "none"
            expected = {"width": 64, "norm": norm, "stem": stem, "last_norm": False}
            assert {"stem": "small", **entry.parameters} == expected
    printed = {"width": 16, "hidden": 100, "relu_between_fc": False}
    assert ARCHITECTURES["cnn2_fc2"].parameters == printed and ARCHITECTURES["cnn2_fc2"].normalisation == "none"
    assert ARCHITECTURES["cnn2_fc2_relu"].parameters == {**printed, "relu_between_fc": True}
    assert ARCHITECTURES["m5"].parameters == {"width": 128, "first": 80, "stride": 4}


def test_the_small_encoder_is_that_of_its_file() -> None:
    """The entry's SHA-256 and sizes are those of the file that comes with the project: building it reads and compares them."""
    from robustscape.models import build_classifier

    entry = ARCHITECTURES["vit_small_head"]
    model = build_classifier(entry.architecture, entry.parameters, (1, 14, 14), 10, mean=[0.5], std=[0.5])
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 24 * 10 + 10
