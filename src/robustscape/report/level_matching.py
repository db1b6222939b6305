"""The rule by which two levels of a factor are equal: it matches printed numbers and claims to ours. Imports no pandas."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from robustscape.numbers import parse_number

#: Two numbers are the same level within this relative distance, half a unit of the sixth digit: printed values of eps have six.
TOLERANCE = 5e-6

_SEPARATORS = re.compile(r"[\s_-]+")


def level_key(value: Any) -> Hashable:
    """A level as something that compares equal across files.

    Numbers become floats, ``8/255`` too; words lose case, spaces, hyphens and underscores (the works write ResNet18, the
    configuration resnet18); a missing level becomes None.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        try:
            return float(parse_number(value))
        except ValueError:
            return _SEPARATORS.sub("", value.casefold())
    return str(value) if type(value).__name__ in ("bool", "bool_") else float(value)


def same_level(a: Any, b: Any) -> bool:
    """True if two levels have the same ``level_key``; numbers agree within ``TOLERANCE``, whole numbers exactly.

    >>> same_level(8 / 255, "8/255"), same_level("PreActResNet-18", "preactresnet18"), same_level(0.2, 0.21)
    (True, True, False)
    >>> same_level(8 / 255, 0.0313725), same_level(10000, 10001), same_level(1_000_000, 1_000_001)
    (True, False, False)
    """
    a, b = level_key(a), level_key(b)
    if isinstance(a, float) and isinstance(b, float):
        if a.is_integer() and b.is_integer():
            return a == b
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))
    return a == b
