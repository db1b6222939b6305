"""The hierarchy of classes that some attacks take: their parameter ``superclass``, given by a caller who names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustscape import catalog
from robustscape.errors import ConfigError

#: The parameter of attacks that holds the superclass of each class.
HIERARCHY = "superclass"


def takes_hierarchy(attack: str) -> bool:
    """Return true if an attack of the catalogue takes a hierarchy of classes."""
    entry = catalog.catalog_entries("attack").get(attack)
    return entry is not None and HIERARCHY in entry.parameters.model_fields


def check_hierarchy(superclass: Any) -> list[int]:
    """Return the superclass of each class as Python's integers; tensors and NumPy arrays are accepted.

    Raises:
        ConfigError: no integers of at least 0, one for each class, or fewer than two different ones.
    """
    numbers = superclass.tolist() if hasattr(superclass, "tolist") else superclass
    if not isinstance(numbers, list | tuple) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ConfigError(
            f"superclass got {superclass!r}, allowed is a list with the number of the superclass of each class 0, 1, ..., such "
            "as [0, 0, 1, 1]."
        )
    if len(set(numbers)) < 2:
        raise ConfigError(f"superclass got {list(numbers)!r}, which no attack can leave; give at least 2 superclasses.")
    return list(numbers)


def hierarchy_for(attack: str, parameters: Mapping[str, Any], superclass: Sequence[int] | None) -> dict[str, Any]:
    """Return the parameters of an attack with the hierarchy that its caller gave, if it takes one.

    Args:
        attack: a name of the catalogue.
        parameters: its own, of which a hierarchy is replaced.
        superclass: of each class; None: not given.

    Raises:
        ConfigError: it needs one, and there is none.
    """
    if not takes_hierarchy(attack):
        return dict(parameters)
    if superclass is not None:
        return {**parameters, HIERARCHY: list(superclass)}
    if HIERARCHY not in parameters:
        raise ConfigError(
            f"attack '{attack}': superclass is missing, the hierarchy of the classes (in the shell --superclass): a list with "
            "the number of the superclass of each class 0, 1, ..."
        )
    return dict(parameters)


def check_taken(attacks: Sequence[str], superclass: Sequence[int] | None) -> None:
    """Refuse a hierarchy that none of the attacks takes: the result would not be what was asked for.

    Raises:
        ConfigError: with the attacks that take one.
    """
    if superclass is not None and not any(map(takes_hierarchy, attacks)):
        known = ", ".join(name for name in catalog.catalog_entries("attack") if takes_hierarchy(name))
        raise ConfigError(f"superclass is for attacks of a hierarchy, {known}; got it for {', '.join(attacks)}.")
