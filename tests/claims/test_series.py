"""Every function of the claims' language on numbers worked out by hand, at its edges too."""

from __future__ import annotations

from typing import Any

import pytest

from robustscape.claims.series import SERIES_FUNCTIONS, NotTestable, Series


def series(*values: float, levels: tuple[Any, ...] | None = None) -> Series:
    return Series(levels or tuple(float(i) for i in range(len(values))), values)


UP, DOWN, FLAT, BENT = series(1, 2, 4), series(4, 2, 1), series(2, 2, 2), series(1, 3, 2)
TRUTHS = series(True, False, True, True)

#: Function, arguments, result.
CASES: list[tuple[str, tuple[Any, ...], Any]] = [
    ("spearman", (UP,), 1.0),
    ("spearman", (DOWN,), -1.0),
    ("spearman", (FLAT,), 0.0),
    ("spearman", (BENT,), 0.5),
    ("spearman", (series(1, 1, 2),), 3**0.5 / 2),  # ranks 1.5, 1.5, 3
    ("spearman", (series(2, 1, 1),), -(3**0.5) / 2),
    ("non_increasing", (DOWN,), True),
    ("non_increasing", (FLAT,), True),
    ("non_increasing", (BENT,), False),
    ("non_increasing", (series(4, 4.1, 1), 0.15), True),
    ("non_increasing", (series(4, 4.2, 1), 0.15), False),
    ("non_increasing", (series(4, 4.1, 4.2), 0.15), True),  # each against the one before it
    ("non_decreasing", (UP,), True),
    ("non_decreasing", (FLAT,), True),
    ("non_decreasing", (BENT,), False),
    ("non_decreasing", (series(4, 3.9, 5), 0.15), True),
    ("non_decreasing", (series(4, 3.8, 5), 0.15), False),
    ("strictly_increasing", (UP,), True),
    ("strictly_increasing", (FLAT,), False),
    ("strictly_increasing", (series(1, 2, 2),), False),
    ("strictly_increasing", (BENT,), False),
    ("strictly_decreasing", (DOWN,), True),
    ("strictly_decreasing", (FLAT,), False),
    ("strictly_decreasing", (series(2, 2, 1),), False),
    ("r2_linear", (series(1, 3, 5),), 1.0),
    ("r2_linear", (series(5, 3, 1),), 1.0),
    ("r2_linear", (series(0, 0, 1),), 0.75),  # correlation 0.866
    ("r2_linear", (series(1, 4, 16, levels=(1.0, 2.0, 4.0)),), 24**2 / (14 / 3 * 126)),  # Sxy^2 / Sxx Syy
    ("ratio", (6.0, 3.0), 2.0),
    ("ratio", (UP, 2.0), [0.5, 1.0, 2.0]),
    ("ratio", (8.0, UP), [8.0, 4.0, 2.0]),
    ("ratio", (UP, DOWN), [0.25, 1.0, 4.0]),
    ("first", (BENT,), 1.0),
    ("last", (BENT,), 2.0),
    ("smallest", (BENT,), 1.0),
    ("largest", (BENT,), 3.0),
    ("smallest", ([3, -1, 2],), -1.0),
    ("mean", (UP,), 7 / 3),
    ("spread", (series(3, -1, 2),), 4.0),
    ("absolute", (-2.5,), 2.5),
    ("absolute", (series(-1, 0, 2),), [1, 0, 2]),
    ("combined_error", (3.0, 4.0), 5.0),
    ("combined_error", (2.0, 3.0, 6.0), 7.0),
    ("combined_error", (series(3, 5), series(4, 12)), [5, 13]),
    ("combined_error", (series(3, 5), 12.0, series(4, 0)), [13, 13]),
    ("combined_error", (12.0, series(5, 9)), [13, 15]),
    ("beyond", (UP, 0), [2, 4]),
    ("beyond", (UP, 1.0), [4]),
    ("beyond", (UP, 1.00001), [4]),
    ("beyond", (UP, -1), [1, 2, 4]),
    ("at", (UP, [2.0, 0.0]), [4, 1]),
    ("share_above", (series(0, 1, 2), series(0, 1, 2), series(0, 1, 2), series(1.5, 1.5, 1.5)), 0.25),
    ("share_above", (series(0, 4), series(0, 4), series(2, 6), series(3, 3)), 0.5),  # shared: 2 to 4; above from 3 on
    ("share_above", (series(0, 4), series(5, 6), series(1, 3), series(0, 1)), 1.0),
    ("all_true", (TRUTHS,), False),
    ("all_true", (series(True, True),), True),
    ("all_true", ([],), False),
    ("any_true", (TRUTHS,), True),
    ("any_true", (series(False, False),), False),
    ("any_true", ([],), False),
    ("share_true", (TRUTHS,), 0.75),
    ("share_true", (series(False, False),), 0.0),
]


def test_every_function_is_here() -> None:
    assert {name for name, _, _ in CASES} == set(SERIES_FUNCTIONS)


@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_a_function_on_numbers_worked_out_by_hand(name: str, arguments: tuple[Any, ...], expected: Any) -> None:
    found = SERIES_FUNCTIONS[name](*arguments)
    if isinstance(expected, bool):
        assert found is expected
    else:
        assert (list(found) if isinstance(found, Series) else found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("spearman", (series(1.0),)),
        ("strictly_increasing", (series(1.0),)),
        ("r2_linear", (series(1.0, 2.0),)),
        ("first", (series(),)),
        ("share_true", ([],)),
        ("at", (UP, [7.0])),
        ("ratio", (1.0, 0.0)),
        ("share_above", (series(0, 1), series(0, 1), series(1, 2), series(0, 1))),
        ("ratio", (UP, series(0, 1, 2))),
        ("combined_error", (UP, series(1, 2))),
    ],
)
def test_what_lacks_numbers_is_not_testable(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotTestable):
        SERIES_FUNCTIONS[name](*arguments)


def test_series_of_other_levels_are_not_compared() -> None:
    other = series(1, 2, 4, levels=(0.0, 1.0, 3.0))
    for compare in (lambda: other < UP, lambda: UP - other, lambda: series(1, 2) == UP):
        with pytest.raises(NotTestable, match="different levels"):
            compare()
    assert list(series(0, 3, 4) < UP) == [True, False, False]
    assert list(series(0, 3, 4) <= UP) == [True, False, True]
    assert list(3 - UP) == [2, 1, -1] and list(8 / UP) == [8, 4, 2] and list(-UP) == [-1, -2, -4]
    assert list(UP * UP) == list(UP**2) == [1, 4, 16] and list(2**UP) == [2, 4, 16]
