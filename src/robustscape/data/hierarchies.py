"""Two levels of classes: leaf classes, and the disjoint meta-classes that they are grouped into (ma2025 section 5.2).

A hierarchy is written as a mapping from meta-classes to the names of their leaf classes. Its order counts: meta-classes are
numbered in it, and so are leaf classes, meta-class after meta-class, as in equation 5.2. The meta-class of each label thus
follows from the sizes alone. No torch here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from robustscape.errors import ConfigError

#: Meta-class -> its leaf classes.
Hierarchy = Mapping[str, Sequence[str]]


def leaf_classes(hierarchy: Hierarchy) -> list[str]:
    """Return the names of the leaf classes in the order of their labels.

    >>> leaf_classes({"animals": ["cat", "dog"], "vehicles": ["ship"]})
    ['cat', 'dog', 'ship']
    """
    return [leaf for leaves in hierarchy.values() for leaf in leaves]


def meta_class_of_each(hierarchy: Hierarchy) -> list[int]:
    """Return the number of the meta-class of each leaf class, in the order of labels.

    >>> meta_class_of_each({"animals": ["cat", "dog"], "vehicles": ["ship"]})
    [0, 0, 1]
    """
    return [number for number, leaves in enumerate(hierarchy.values()) for _ in leaves]


def check_hierarchy(hierarchy: Hierarchy, known: Sequence[str], *, complete: bool) -> None:
    """Refuse what is no hierarchy over some classes.

    Args:
        hierarchy: meta-class -> its leaf classes.
        known: the names of all classes.
        complete: whether each of them must be in a meta-class.

    Raises:
        ConfigError: there are fewer than two meta-classes, or one is empty; a class is not known, in two of them, or in none
            where the hierarchy has to be complete. The message names it.
    """
    if len(hierarchy) < 2:
        raise ConfigError(f"key 'classes' got {len(hierarchy)} meta-classes; a hierarchy has at least 2.")
    if empty := [meta for meta, leaves in hierarchy.items() if not leaves]:
        raise ConfigError(f"key 'classes': meta-class '{empty[0]}' has no leaf class; it needs at least 1.")
    leaves = leaf_classes(hierarchy)
    if unknown := [leaf for leaf in leaves if leaf not in known]:
        raise ConfigError(f"key 'classes': there is no class '{unknown[0]}'; there are {', '.join(known)}.")
    if twice := [leaf for leaf, count in Counter(leaves).items() if count > 1]:
        places = [meta for meta, members in hierarchy.items() for leaf in members if leaf == twice[0]]
        raise ConfigError(
            f"key 'classes': class '{twice[0]}' is in {' and in '.join(places)}; meta-classes must be disjoint."
        )
    if complete and (missing := [name for name in known if name not in leaves]):
        raise ConfigError(
            f"key 'classes': class '{missing[0]}' is in no meta-class; name it, or say 'complete: false' for a data set without "
            "such classes."
        )
