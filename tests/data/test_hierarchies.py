"""Hierarchies of classes: what is none gets a sentence."""

from __future__ import annotations

import pytest

from robustscape.data.hierarchies import check_hierarchy, leaf_classes, meta_class_of_each
from robustscape.errors import ConfigError

KNOWN = ["ship", "cat", "dog", "truck"]
GOOD = {"animals": ["cat", "dog"], "vehicles": ["ship", "truck"]}


def test_labels_follow_the_order_that_is_written() -> None:
    assert leaf_classes(GOOD) == ["cat", "dog", "ship", "truck"]
    assert meta_class_of_each(GOOD) == [0, 0, 1, 1]
    check_hierarchy(GOOD, KNOWN, complete=True)
    check_hierarchy({"animals": ["cat"], "vehicles": ["ship"]}, KNOWN, complete=False)


@pytest.mark.parametrize(
    ("hierarchy", "sentence"),
    [
        ({"all": KNOWN}, "got 1 meta-classes; a hierarchy has at least 2"),
        ({**GOOD, "plants": []}, "meta-class 'plants' has no leaf class"),
        ({"animals": ["cat", "cow"], "vehicles": ["ship", "truck"]}, "no class 'cow'; there are ship, cat, dog, truck"),
        ({"animals": ["cat", "dog", "ship"], "vehicles": ["ship", "truck"]}, "'ship' is in animals and in vehicles"),
        ({"animals": ["cat", "cat", "dog"], "vehicles": ["ship", "truck"]}, "'cat' is in animals and in animals"),
        ({"animals": ["cat", "dog"], "vehicles": ["ship"]}, "class 'truck' is in no meta-class"),
    ],
)
def test_what_is_no_hierarchy_is_refused(hierarchy: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_hierarchy(hierarchy, KNOWN, complete=True)
