"""What a check returns: what was expected, what came out, and whether that agrees."""

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
    """A tidy row of "``value`` ``relation`` ``expected``, within ``tolerance``".

    ``error`` is how far ``value`` is off, or, for an inequality, how far on the wrong side. "!=" and ">" ask for more
    than ``tolerance`` between the two. NaN never holds.
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
