"""Series (numbers along a factor) and the functions of the claims' language that work on them; no data is read here.

Each function in ``SERIES_FUNCTIONS`` takes a series, a list or a number and returns a number, a truth value or a series.
The module needs the standard library alone, so that claims can be checked while planning.
"""

from __future__ import annotations

import itertools
import math
import operator
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from robustscape.errors import ConfigError
from robustscape.report.level_matching import same_level
from robustscape.report.words import is_number, level_texts


class NotTestable(Exception):
    """Raised when the numbers a claim needs are missing."""


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers along a factor, in the order of its levels. It has no truth value of its own: see ``all_true``."""

    levels: tuple[Any, ...]
    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return iter(self.values)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.values[index]
        except IndexError:
            raise NotTestable(f"a series of {len(self)} has no element {index}") from None

    def __bool__(self) -> bool:
        raise ConfigError(
            "a series is neither true nor false; wrap the comparison in all_true(...) or share_true(...)."
        )

    def _with(self, other: Any, operate: Callable[[Any, Any], Any]) -> Series:
        if isinstance(other, Series):
            if len(other) != len(self) or not all(map(same_level, self.levels, other.levels)):
                levels_of_both = f"{format_levels(self.levels)} and {format_levels(other.levels)}"
                raise NotTestable(f"two series have different levels: {levels_of_both}")
            others: Iterable[Any] = other.values
        else:
            others = [other] * len(self)
        return Series(self.levels, tuple(operate(a, b) for a, b in zip(self.values, others, strict=True)))

    def __eq__(self, other: Any) -> Series:  # type: ignore[override]
        return self._with(other, operator.eq)

    def __ne__(self, other: Any) -> Series:  # type: ignore[override]
        return self._with(other, operator.ne)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Series:
        return self._with(other, operator.add)

    def __sub__(self, other: Any) -> Series:
        return self._with(other, operator.sub)

    def __mul__(self, other: Any) -> Series:
        return self._with(other, operator.mul)

    def __truediv__(self, other: Any) -> Series:
        return self._with(other, _divide)

    def __radd__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b + a)

    def __rsub__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b - a)

    def __rmul__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b * a)

    def __rtruediv__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: _divide(b, a))

    def __pow__(self, other: Any) -> Series:
        return self._with(other, operator.pow)

    def __rpow__(self, other: Any) -> Series:
        return self._with(other, lambda a, b: b**a)

    def __neg__(self) -> Series:
        return Series(self.levels, tuple(-value for value in self.values))

    def __lt__(self, other: Any) -> Series:
        return self._with(other, operator.lt)

    def __le__(self, other: Any) -> Series:
        return self._with(other, operator.le)

    def __gt__(self, other: Any) -> Series:
        return self._with(other, operator.gt)

    def __ge__(self, other: Any) -> Series:
        return self._with(other, operator.ge)


def _divide(a: float, b: float) -> float:
    if b == 0:
        raise NotTestable("a division by zero")
    return a / b


def _numbers(series: Any, least: int) -> list[float]:
    if is_number(series):
        raise ConfigError("a function over a series got a single number; give it series(...) or a list.")
    values = [float(value) for value in series]
    if len(values) < least:
        raise NotTestable(f"it needs {least} values, there are {len(values)}")
    return values


def spearman(series: Series) -> float:
    """Spearman's rank correlation of the values with their order: 1 when they only rise, -1 when they only fall."""
    values = _numbers(series, 2)
    ranks = [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]
    if len(set(ranks)) == 1:
        return 0.0
    return statistics.correlation(ranks, [float(i) for i in range(len(ranks))])


def non_increasing(series: Series, tolerance: float = 0.0) -> bool:
    """No value is above the one before it by more than ``tolerance``."""
    values = _numbers(series, 2)
    return all(b <= a + tolerance for a, b in itertools.pairwise(values))


def non_decreasing(series: Series, tolerance: float = 0.0) -> bool:
    """No value is below the one before it by more than ``tolerance``."""
    values = _numbers(series, 2)
    return all(b >= a - tolerance for a, b in itertools.pairwise(values))


def strictly_increasing(series: Series) -> bool:
    """Every value is above the one before it."""
    values = _numbers(series, 2)
    return all(b > a for a, b in itertools.pairwise(values))


def strictly_decreasing(series: Series) -> bool:
    """Every value is below the one before it."""
    values = _numbers(series, 2)
    return all(b < a for a, b in itertools.pairwise(values))


def r2_linear(series: Series) -> float:
    """R^2 of the least-squares straight line of the values against their levels; 0 for equal values, which show no trend."""
    if not isinstance(series, Series):
        raise ConfigError("r2_linear needs a series, whose levels are the horizontal axis.")
    if not all(is_number(level) for level in series.levels):
        raise ConfigError("r2_linear needs a series along a factor of numbers.")
    values = _numbers(series, 3)
    if len(set(values)) == 1:
        return 0.0
    return statistics.correlation([float(level) for level in series.levels], values) ** 2


def ratio(a: Any, b: Any) -> Any:
    """``a / b``, of numbers or of series level by level."""
    return a / b if isinstance(a, Series) or isinstance(b, Series) else _divide(a, b)


def first(series: Series) -> float:
    """The value at the first (smallest) level."""
    return _numbers(series, 1)[0]


def last(series: Series) -> float:
    """The value at the last (largest) level."""
    return _numbers(series, 1)[-1]


def smallest(series: Series) -> float:
    """The smallest value."""
    return min(_numbers(series, 1))


def largest(series: Series) -> float:
    """The largest value."""
    return max(_numbers(series, 1))


def mean(series: Series) -> float:
    """The mean of the values."""
    return statistics.fmean(_numbers(series, 1))


def spread(series: Series) -> float:
    """The largest value minus the smallest."""
    values = _numbers(series, 1)
    return max(values) - min(values)


def absolute(value: Any) -> Any:
    """The absolute value, of a number or of each value of a series."""
    return Series(value.levels, tuple(abs(v) for v in value)) if isinstance(value, Series) else abs(value)


def combined_error(error: Any, other: Any, *more: Any) -> Any:
    """The standard error of a difference or sum of means: the root of the sum of squares of theirs, of numbers or of series."""
    squares = sum(part * part for part in (error, other, *more))
    return Series(squares.levels, tuple(map(math.sqrt, squares))) if isinstance(squares, Series) else math.sqrt(squares)


def beyond(series: Series, level: float) -> Series:
    """The part of a series above a level of its factor: ``beyond(s, 0)`` leaves out level 0."""
    pairs = zip(series.levels, series.values, strict=True)
    kept = [(place, value) for place, value in pairs if place > level and not same_level(place, level)]
    return Series(tuple(place for place, _ in kept), tuple(value for _, value in kept))


def at(series: Series, chosen: list[Any]) -> Series:
    """The part of a series at some levels of its factor, in the order given."""
    found = []
    for wanted in chosen:
        values = [v for level, v in zip(series.levels, series.values, strict=True) if same_level(level, wanted)]
        if not values:
            raise NotTestable(f"the series has no level {format_value(wanted)}, only {format_levels(series.levels)}")
        found.append(values[0])
    return Series(tuple(chosen), tuple(found))


def all_true(series: Series) -> bool:
    """Every comparison is true (false for an empty list)."""
    values = list(series)
    return bool(values) and all(bool(value) for value in values)


def any_true(series: Series) -> bool:
    """At least one comparison is true."""
    return any(bool(value) for value in series)


def share_true(series: Series) -> float:
    """The share of comparisons that are true, for claims that say "in most cases"."""
    values = [bool(value) for value in series]
    if not values:
        raise NotTestable("there is nothing to compare")
    return sum(values) / len(values)


def share_above(x: Series, y: Series, other_x: Series, other_y: Series) -> float:
    """The share of the range of x that two curves have in common on which the first is above the second, joined linearly."""
    (first_x, first_y), (second_x, second_y) = _curve(x, y), _curve(other_x, other_y)
    low, high = max(first_x[0], second_x[0]), min(first_x[-1], second_x[-1])
    if not low < high:
        raise NotTestable("two curves have no range in common")
    knots = sorted({low, high, *(place for place in [*first_x, *second_x] if low < place < high)})
    gaps = [_interpolate(first_x, first_y, place) - _interpolate(second_x, second_y, place) for place in knots]
    above = 0.0
    for (start, end), (a, b) in zip(itertools.pairwise(knots), itertools.pairwise(gaps), strict=True):
        share = float(a > 0 or b > 0) if a * b >= 0 else max(a, b) / abs(a - b)
        above += share * (end - start)
    return above / (high - low)


def _curve(x: Series, y: Series) -> tuple[list[float], list[float]]:
    """The points of a curve in the order of x; of points with the same x, their mean."""
    places: dict[float, list[float]] = {}
    for place, value in zip(_numbers(x, 2), _numbers(y, 2), strict=True):
        places.setdefault(place, []).append(value)
    return sorted(places), [statistics.fmean(places[place]) for place in sorted(places)]


def _interpolate(x: list[float], y: list[float], place: float) -> float:
    """The height at a place within the range of a curve."""
    right = next(i for i, value in enumerate(x) if value >= place)
    if x[right] == place:
        return y[right]
    share = (place - x[right - 1]) / (x[right] - x[right - 1])
    return y[right - 1] + share * (y[right] - y[right - 1])


#: The functions above that a claim may call, by name.
SERIES_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        spearman,
        non_increasing,
        non_decreasing,
        strictly_increasing,
        strictly_decreasing,
        r2_linear,
        ratio,
        first,
        last,
        smallest,
        largest,
        mean,
        spread,
        absolute,
        combined_error,
        beyond,
        at,
        all_true,
        any_true,
        share_true,
        share_above,
    )
}


def format_value(value: Any) -> str:
    """A value as the evidence of a claim shows it: numbers with four significant digits.

    >>> format_value(0.123456), format_value(True), format_value([1.0, 2.5])
    ('0.1235', 'true', '1, 2.5')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_number(value):
        return f"{float(value):.4g}"
    return ", ".join(format_value(v) for v in value) if isinstance(value, (list, tuple, Series)) else str(value)


def format_levels(values: Iterable[Any]) -> str:
    """Levels of a factor as the evidence of a claim shows them: values of eps as 8/255, others with four digits.

    >>> format_levels([0, 8 / 255]), format_levels([0.1234567, 1])
    ('0, 8/255', '0.1235, 1')
    """
    values = list(values)
    if all(is_number(value) for value in values):
        texts = level_texts(values)
        return ", ".join(texts[v] if "/" in texts[v] else f"{float(v):.4g}" for v in values)
    return ", ".join(format_value(value) for value in values)
