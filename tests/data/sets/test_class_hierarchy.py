"""Parts of a data set with meta-classes: the same images, labelled as each network of a hierarchy needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robustscape.config.base import read_mapping
from robustscape.config.datasets import DatasetEntry
from robustscape.data.hierarchies import check_hierarchy, leaf_classes, meta_class_of_each
from robustscape.data.sets.class_hierarchy import class_hierarchy
from robustscape.data.sets.digits import digits
from robustscape.errors import ConfigError

ROOT = Path(__file__).parents[3]
NOWHERE = Path("/nowhere")
SHAPES = {"curved": ["0", "2", "3", "5", "6", "8", "9"], "straight": ["1", "4", "7"]}
ENTRIES = {
    name: entry
    for name, entry in read_mapping(DatasetEntry, ROOT / "config" / "datasets.yaml").items()
    if entry.dataset == "class_hierarchy"
}
WHOLES = {name: entry for name, entry in ENTRIES.items() if entry.parameters["part"] == "leaves"}


def part(which: Any, **parameters: Any) -> Any:
    return class_hierarchy(NOWHERE, source="digits", classes=SHAPES, part=which, **parameters)


def names(splits: Any) -> list[str]:
    return [splits.classes[label] for label in splits.test_y]


def test_all_images_with_leaf_labels() -> None:
    whole, source = part("leaves"), digits(NOWHERE)
    assert list(whole.classes) == [*SHAPES["curved"], *SHAPES["straight"]]
    assert np.array_equal(whole.train_x, source.train_x) and names(whole) == names(source)


@pytest.mark.parametrize("sizes", [{}, {"train": 300, "test": 100}])
def test_every_part_has_the_same_images_in_the_same_order(sizes: dict[str, int]) -> None:
    whole, meta = part("leaves", **sizes), part("meta", **sizes)
    assert np.array_equal(meta.train_x, whole.train_x) and np.array_equal(meta.test_x, whole.test_x)
    assert list(meta.classes) == ["curved", "straight"]
    for number, (name, leaves) in enumerate(SHAPES.items()):
        own = part(number, **sizes)
        of_meta = meta.train_y == number
        assert np.array_equal(own.train_x, whole.train_x[of_meta]) and list(own.classes) == leaves
        assert [leaves[label] for label in own.train_y] == [whole.classes[label] for label in whole.train_y[of_meta]]
        assert name in names(meta) and own.train_y.max() == len(leaves) - 1
    if sizes:
        assert (len(whole.train_y), len(whole.test_y)) == (300, 100) and not whole.official


def test_classes_outside_are_left_out_where_that_is_said() -> None:
    pair = {"a": ["1", "7"], "b": ["0"]}
    some = class_hierarchy(NOWHERE, source="digits", classes=pair, complete=False)
    assert list(some.classes) == ["1", "7", "0"] and len(some.test_y) == sum(n in "170" for n in names(digits(NOWHERE)))
    with pytest.raises(ConfigError, match="class '2' is in no meta-class"):
        class_hierarchy(NOWHERE, source="digits", classes=pair)


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="'part' got 2; allowed are leaves, meta and 0 to 1"):
        part(2)


# -- the hierarchies of config/datasets.yaml ---------------------------------------------------------------------------


def test_every_hierarchy_has_all_its_parts() -> None:
    """One entry for the whole, one for the meta-classes and one for each of them, which differ in ``part`` alone."""
    for name, whole in WHOLES.items():
        stem = name.removesuffix("_hierarchy")
        parts = {"meta": "meta", **{f"part{number}": number for number in range(len(whole.parameters["classes"]))}}
        for suffix, which in parts.items():
            expected = whole.model_copy(update={"parameters": {**whole.parameters, "part": which}, "about": ""})
            assert ENTRIES[f"{stem}_{suffix}"].model_copy(update={"about": ""}) == expected
    assert len(ENTRIES) == sum(2 + len(entry.parameters["classes"]) for entry in WHOLES.values())


def test_hierarchies_are_those_of_table_5_1() -> None:
    """10, 25 and 100 leaves, and exactly the printed groups; the reference has torchvision's names and the official labels."""
    printed = pd.read_csv(ROOT / "resources" / "paper" / "ma2025_table_5_1.csv")
    ours = {"cifar10": "cifar10_hierarchy", "cifar5x5": "cifar5x5", "cifar100": "cifar100_hierarchy"}
    for dataset, leaves, metas in (("cifar10", 10, 2), ("cifar5x5", 25, 5), ("cifar100", 100, 20)):
        rows = printed[printed["dataset"] == dataset].sort_values(["meta_index", "original_leaf_index"])
        entry = WHOLES[ours[dataset]]
        groups = {str(name): group["leaf_class"].tolist() for name, group in rows.groupby("meta_class", sort=False)}
        assert entry.parameters["classes"] == groups and list(entry.parameters["classes"]) == list(groups)
        known = rows["leaf_class"].tolist()
        check_hierarchy(groups, known, complete=True)
        assert len(leaf_classes(groups)) == leaves and len(set(meta_class_of_each(groups))) == metas
        assert entry.parameters["complete"] == (dataset != "cifar5x5")


@pytest.mark.parametrize(
    "name", [name for name, entry in WHOLES.items() if not entry.parameters["source"].startswith("cifar")]
)
def test_hierarchies_over_embedded_data_can_be_made(name: str) -> None:
    entry = ENTRIES[name]
    splits = class_hierarchy(NOWHERE, **entry.parameters)
    assert list(splits.classes) == leaf_classes(entry.parameters["classes"])
