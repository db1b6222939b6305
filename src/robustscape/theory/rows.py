"""The rows of a theory check: the expected value, the value found, and whether the two agree."""

from __future__ import annotations

from typing import Any, Literal

Relation = Literal["==", "!=", ">=", "<=", ">"]


def check_row(
    check: str,
    quantity: str,
    value: float,
    relation: Relation,
    expected: float,
    *,
    tolerance: float = 0.0,
    **parameters: Any,
) -> dict[str, Any]:
    """Return the row that states "``value`` ``relation`` ``expected``, within ``tolerance``" and whether that holds.

    Args:
        check: the statement checked, such as "lemma 1" or "eq 8".
        quantity: description of ``value``.
        value: the value found; with NaN no relation holds.
        relation: how it should compare with ``expected``.
        expected: the value of the theorem, or its bound.
        tolerance: by how much "==", ">=" and "<=" may be missed; "!=" and ">" need a distance of more than this.
        **parameters: further columns, the parameters of the check.

    Returns:
        A dictionary with the columns check, quantity, relation, expected, value, error, tolerance, holds and
        ``parameters``. ``error`` is the absolute difference for "==" and "!=", and the distance on the wrong side for an
        inequality (0 on the right side).

    >>> check_row("eq 10", "largest eigenvalue", 0.26, "==", 0.25, tolerance=0.1)["holds"]
    True
    """
    off = value - expected
    error = {"==": abs(off), "!=": abs(off), ">=": max(0.0, -off), ">": max(0.0, -off), "<=": max(0.0, off)}[relation]
    holds = {
        "==": abs(off) <= tolerance,
        "!=": abs(off) > tolerance,
        ">=": off >= -tolerance,
        ">": off > tolerance,
        "<=": off <= tolerance,
    }[relation]
    return {
        "check": check,
        "quantity": quantity,
        "relation": relation,
        "expected": expected,
        "value": value,
        "error": error,
        "tolerance": tolerance,
        "holds": holds,
        **parameters,
    }
