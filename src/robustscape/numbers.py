"""Numbers as the works write them: ``8/255`` in YAML is a number, and reads back as ``8/255`` in a path."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator

_FRACTION = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


def parse(value: Any) -> Any:
    """``"8/255"`` -> 0.03137...; everything else is left to pydantic, which refuses what is not a number."""
    if isinstance(value, str) and (match := _FRACTION.fullmatch(value)):
        numerator, denominator = (Fraction(part) for part in match.groups())
        if denominator == 0:
            raise ValueError(f"'{value}' divides by zero")
        return float(numerator / denominator)
    return value


Number = Annotated[float, BeforeValidator(parse)]


def label(value: float) -> str:
    """How a number is written in paths and axes: ``8_255`` for multiples of 0.5/255, else the shortest decimal.

    >>> label(8 / 255), label(0.1), label(0.0), label(25.5 / 255)
    ('8_255', '0.1', '0', '0.1')
    """
    decimal = f"{value:.6g}"
    if len(decimal) <= 5:
        return decimal
    scaled = value * 255
    if abs(scaled * 2 - round(scaled * 2)) < 1e-6:
        return f"{scaled:.4g}_255"
    return decimal


def pretty(value: float) -> str:
    """``label`` for people: ``8/255``.

    >>> pretty(8 / 255)
    '8/255'
    """
    return label(value).replace("_", "/")
