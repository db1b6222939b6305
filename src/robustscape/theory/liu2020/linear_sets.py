"""liu2020, section 2 (linear model): the shares of good and of bad directions among random ones, as eps grows."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.liu2020 import _linear_model as linear


def linear_sets(
    *,
    inputs: Annotated[int, Field(ge=1)] = 4,
    classes: Annotated[int, Field(ge=3)] = 3,
    draws: Annotated[int, Field(ge=1)] = 200_000,
    eps_values: list[float] = [0.0, 0.1, 0.2, 0.4],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows share_good, share_bad (c real) and share_bad_half_line (c >= 0), in percent, one of each per eps.

    After ``eps_values`` comes eps_bar = ||x||_inf, from which on every direction is bad. The column ``nested`` is True if the
    good set of this eps lies in that of the eps before, or the bad set contains it, for every matrix drawn.

    Args:
        inputs: m, the length of x.
        classes: K.
        draws: number of matrices W ~ N(0, I).
        eps_values: values of eps, ascending.
        seed: seed of x and W.
    """
    x, weights = linear.random_linear_model(inputs, classes, draws, seed)
    bar = float(np.abs(x).max())
    rows: list[dict[str, Any]] = []
    before: dict[str, linear.Mask] = {}
    for eps in [*eps_values, bar]:
        found = {
            "share_good": linear.is_good_direction(x, weights, eps),
            "share_bad": linear.is_bad_direction(x, weights, eps),
            "share_bad_half_line": linear.is_bad_direction(x, weights, eps, half_line=True),
        }
        for metric, mask in found.items():
            smaller, larger = (mask, before.get(metric)) if metric == "share_good" else (before.get(metric), mask)
            nested = smaller is None or larger is None or not bool((smaller & ~larger).any())
            rows.append(
                {
                    "eps": eps,
                    "metric": metric,
                    "value": 100.0 * float(mask.mean()),
                    "unit": "percent",
                    "nested": nested,
                    "at_eps_bar": eps == bar,
                    "inputs": inputs,
                    "classes": classes,
                    "draws": draws,
                }
            )
        before = found
    return rows
