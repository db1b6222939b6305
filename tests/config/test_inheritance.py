"""Inheritance of recipes as their files show it; variants, grids and the factors they give to rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustscape.config.inheritance import apply_changes, complete_recipe, read_definitions, value_at
from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "config/recipes"
DEFINITIONS = read_definitions([RECIPES.parent])


def edit(config: Path, name: str, old: str, new: str) -> None:
    path = config / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_few_files() -> None:
    assert len(list(RECIPES.glob("*.yaml"))) <= 60


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_key_that_is_written_is_all_there_is_of_it(name: str) -> None:
    """No key of a mapping leaks in from the recipe that is extended, unless the file says so by a key with dots."""
    content = complete_recipe(name, DEFINITIONS)
    for key, value in DEFINITIONS[name].changes.items():
        longer = [other for other in DEFINITIONS[name].changes if other.startswith(f"{key}.")]
        if not longer:
            assert value_at(content, key) == value, key


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"a": {"c": 2}}, {"a": {"c": 2}, "b": [{"x": 1}, {"x": 2}]}),
        ({"a.c": 2}, {"a": {"b": 1, "c": 2}, "b": [{"x": 1}, {"x": 2}]}),
        ({"b.1.x": 3}, {"a": {"b": 1}, "b": [{"x": 1}, {"x": 3}]}),
        ({"d.e": 3}, {"a": {"b": 1}, "b": [{"x": 1}, {"x": 2}], "d": {"e": 3}}),
    ],
)
def test_a_mapping_is_replaced_and_a_key_with_dots_changes_one_value(
    changes: dict[str, object], expected: dict[str, object]
) -> None:
    content = {"a": {"b": 1}, "b": [{"x": 1}, {"x": 2}]}
    assert apply_changes(content, changes, "here") == expected
    assert content == {"a": {"b": 1}, "b": [{"x": 1}, {"x": 2}]}, "the recipe that is extended stays as it is"


@pytest.mark.parametrize(("key", "words"), [("a.b.c", "which has no keys"), ("b.2.x", "allowed are 0 to")])
def test_a_key_with_dots_that_leads_nowhere_is_a_sentence(key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        apply_changes({"a": {"b": 1}, "b": []}, {key: 1}, "here")


def test_a_member_of_a_grid_that_changes_nothing_is_the_recipe_itself() -> None:
    """One run, not a second of the same kind under another name."""
    experiment = load_experiment(ROOT / "config", "paper")
    runs = experiment.studies["kim2023"].runs
    (_, swept) = runs["ch3b_tiny"]
    bridged = [name for name in swept.recipe if "-bat" in name]
    assert bridged == [f"kim2023_bat_tiny-bat{f'-beta{b}' if b != 5 else ''}" for b in (1, 5, 10, 20, 40)]
    for beta, name in zip((1, 5, 10, 20, 40), bridged, strict=True):
        assert experiment.recipes[name].parameters == {"beta": beta, "bridges": 3}
        assert experiment.factors[name]["beta"] == beta


def test_factors_are_the_works_own_numbers_at_every_scale() -> None:
    paper, small = (load_experiment(ROOT / "config", scale) for scale in ("paper", "small"))
    assert paper.factors == small.factors
    assert small.factors["liu2020_mnist_04-cosine-lr0.001"] == {
        "lr": 0.001,
        "learning_rate": 0.001,
        "eps_scheduler": "cosine",
        "periodic_lr": "no",
    }


def test_factors_and_variants_do_not_train_anything_anew(config: Path) -> None:
    before = load_experiment(ROOT / "config", "small")
    edit(config, "recipes/yamada2021_svhn.yaml", "variants:", "factors: {norm: L2}\n\nvariants:\n  other: {epochs: 3}")
    after = load_experiment(config, "small")
    for planned in before.runs("yamada2021", "svhn"):
        assert before.run_config(planned.run) == after.run_config(planned.run)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("recipes/yamada2021_svhn.yaml", "  pgd:\n", "  Pgd:\n", "the name 'Pgd' is not allowed"),
        ("recipes/yamada2021_svhn.yaml", "    method: adv", "    extends: x\n    method: adv", "but 'extends'"),
        ("recipes/yamada2021_svhn.yaml", "    method: adv", "    epoch: 3\n    method: adv", "Did you mean 'epochs'"),
        ("recipes/yamada2021_svhn.yaml", "variants:", "factors: {lr: '{optimiser.lr}'}\nvariants:", "has no such key"),
        ("studies/liu2020.yaml", "optimizer.parameters.lr: [", "optimizer.parameters.l: [", "has no key"),
        ("studies/liu2020.yaml", "grid: {optimizer", "grid: {epochs: [x], optimizer", "'x'"),
        ("studies/liu2020.yaml", "recipe: *schedulers", "recipe: [liu2020_mnist_4]", "Did you mean"),
        ("studies/kim2023/chapter_2.yaml", "runs: ch2_others}", "runs: ch2_other}", "unknown runs 'ch2_other'"),
    ],
)
def test_a_wrong_variant_grid_or_factor_gets_a_sentence(
    config: Path, name: str, old: str, new: str, words: str
) -> None:
    edit(config, name, old, new)
    with pytest.raises(ConfigError) as error:
        load_experiment(config, "small")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_member_of_a_grid_never_takes_the_name_of_another_recipe(config: Path) -> None:
    """A variant called as a member would be called, but with another value, must not be trained in its place."""
    edit(config, "recipes/yamada2021_mnist2.yaml", "variants:", "variants:\n  lr0.2: {optimizer.parameters.lr: 0.7}")
    edit(
        config,
        "studies/yamada2021.yaml",
        "recipe: yamada2021_mnist2, eps: [0]",
        "recipe: yamada2021_mnist2, eps: [0], grid: {optimizer.parameters.lr: [0.2]}",
    )
    with pytest.raises(ConfigError, match=r"would be called 'yamada2021_mnist2-lr0\.2', which is another recipe"):
        load_experiment(config, "small")
