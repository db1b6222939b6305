"""ma2025, table 5.1 and section 5.3: the hierarchies of classes, and how often chance gets a meta-class right.

The members are the rows themselves, to be compared with the printed table; the numbers are counted from them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from robustscape.data.hierarchies import leaf_classes

#: What stands in the columns ``meta_class`` and ``leaf_class`` of rows about a whole hierarchy.
WHOLE = "all"


def class_hierarchies(*, hierarchies: dict[str, dict[str, list[str]]]) -> list[dict[str, Any]]:
    """Return a row ``member`` (1) for each leaf class of a meta-class, and numbers of each hierarchy.

    Those are leaf_classes, meta_classes, shared_classes (in more than one meta-class), random_meta_class_chance (percent: of a
    meta-class drawn uniformly) and chance_given_leaf_wrong (percent: that a uniformly wrong leaf class of a uniformly drawn true
    one lies in the right meta-class). All are of the work's own data sets.

    Args:
        hierarchies: data set -> meta-class -> its leaf classes.
    """
    rows: list[dict[str, Any]] = []
    own = {"paper_protocol": True}
    for dataset, hierarchy in hierarchies.items():
        for meta_class, leaves in hierarchy.items():
            for leaf in leaves:
                place = {"dataset": dataset, "meta_class": meta_class, "leaf_class": leaf}
                rows.append({**place, "metric": "member", "value": 1.0, "unit": "bool", **own})
        leaves = leaf_classes(hierarchy)
        count = len(set(leaves))
        within = sum(len(own) * (len(own) - 1) for own in hierarchy.values()) / (count * (count - 1))
        numbers = {
            "leaf_classes": (count, "1"),
            "meta_classes": (len(hierarchy), "1"),
            "shared_classes": (sum(times > 1 for times in Counter(leaves).values()), "1"),
            "random_meta_class_chance": (100.0 / len(hierarchy), "percent"),
            "chance_given_leaf_wrong": (100.0 * within, "percent"),
        }
        place = {"dataset": dataset, "meta_class": WHOLE, "leaf_class": WHOLE}
        rows += [
            {**place, "metric": m, "value": float(value), "unit": unit, **own} for m, (value, unit) in numbers.items()
        ]
    return rows
