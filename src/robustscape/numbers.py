"""Numbers as the works write them: ``8/255`` in YAML is a number, and reads back as ``8/255`` in a path."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, Field

_FRACTION = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


def parse_number(value: Any) -> Any:
    """``"8/255"`` -> 0.03137...; everything else is left to pydantic, which refuses what is not a number."""
    if isinstance(value, str) and (match := _FRACTION.fullmatch(value)):
        numerator, denominator = (Fraction(part) for part in match.groups())
        if denominator == 0:
            raise ValueError(f"'{value}' divides by zero")
        return float(numerator / denominator)
    return value


def refuse_nan(value: float) -> float:
    """Return ``value`` unless it is NaN, which compares with nothing and so passes every check."""
    if math.isnan(value):
        raise ValueError("it is not a number")
    return value


Number = Annotated[float, BeforeValidator(parse_number), AfterValidator(refuse_nan)]


def refuse_truth_values(annotations: Mapping[str, Any], data: Any) -> Any:
    """Return ``data``, keys and values, if no number in it is given as true or false, which Python takes for 1 and 0.

    Args:
        annotations: key -> the type of its value.
        data: what was read.

    Raises:
        ValueError: naming the key.
    """
    for key, value in data.items() if isinstance(data, dict) else ():
        kinds = set(_leaves(annotations.get(key)))
        if kinds & {int, float} and not kinds & {bool, Any} and any(isinstance(v, bool) for v in _values(value)):
            raise ValueError(f"key '{key}' got {str(value).lower()}, allowed is a number")
    return data


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types and literals that an annotation is made of."""
    inner = get_args(annotation)
    if not inner:
        yield type(annotation) if isinstance(annotation, bool) else annotation
    for part in inner:
        yield from _leaves(part)


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _values(part)
    else:
        yield value


def parse_budget(value: Any) -> Any:
    """``parse_number``, but true and false, which Python takes for 1 and 0, are refused."""
    if isinstance(value, bool):
        raise ValueError("a perturbation budget is a number such as 0.1 or 8/255")
    return parse_number(value)


#: A perturbation budget of training: a finite number, not negative; YAML's true is none.
Budget = Annotated[float, BeforeValidator(parse_budget), Field(ge=0, allow_inf_nan=False)]


def require_odd(value: int) -> int:
    """Return ``value``; raise ValueError if it is even."""
    if value % 2 == 0:
        raise ValueError(f"must be odd, got {value}")
    return value


#: Number of grid points with one in the middle.
OddCount = Annotated[int, AfterValidator(require_odd)]


def as_255ths(value: float, tolerance: float = 5e-7) -> str | None:
    """``8/255`` for a multiple of 0.5/255, within ``tolerance`` in units of 1/255; else None.

    >>> as_255ths(8 / 255), as_255ths(0.0313725), as_255ths(0.0313725, tolerance=1e-3)
    ('8/255', None, '8/255')
    """
    scaled = value * 255
    multiple = round(scaled * 2) / 2
    return f"{multiple:.4g}/255" if abs(scaled - multiple) < tolerance else None


def number_label(value: float) -> str:
    """Return a number as paths contain it: ``pretty_number`` with ``_`` for ``/``.

    >>> number_label(8 / 255), number_label(0.1), number_label(0.0), number_label(25.5 / 255)
    ('8_255', '0.1', '0', '0.1')
    """
    return pretty_number(value).replace("/", "_")


def pretty_number(value: float) -> str:
    """Return the shortest decimal, or ``8/255`` for a multiple of 0.5/255 whose decimal has more than five characters.

    >>> pretty_number(8 / 255)
    '8/255'
    """
    decimal = f"{value:.6g}"
    return decimal if len(decimal) <= 5 else as_255ths(value) or decimal
