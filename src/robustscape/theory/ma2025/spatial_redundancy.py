"""ma2025 sections 4.D.1 and 4.D.3: an irrelevant frequency is a redundant dimension of the input in the spatial domain."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import Array, covariance, standard_risk, to_frequency, to_spatial
from robustscape.theory.rows import check_row


def spatial_redundancy(
    *,
    problems: Annotated[int, Field(ge=1)] = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check d = 3 with every choice of relevant frequencies, for random variances.

    Sigma has as many dimensions as there are relevant frequencies. With an irrelevant frequency a dimension of the input is a
    linear combination of the others, every dimension if it is the highest one; without, none is. With s_2 = 0, w* + c v with
    v = C^T (0, 0, 1) has no standard risk for any c, and ||w* + c v||^2 = ||w*||^2 + c^2: the squares add (the work adds the
    norms).

    Args:
        problems: random variances of each choice.
        seed: of the variances.
    """
    generator = np.random.default_rng(seed)
    wrong = one_left = all_left = 0.0
    unexplained = np.inf
    for _, chosen in itertools.product(range(problems), itertools.product((0.0, 1.0), repeat=3)):
        s = np.array(chosen) * generator.uniform(0.5, 2.0, 3)
        sigma = covariance(s)
        wrong += abs(int(np.linalg.matrix_rank(sigma, tol=1e-9)) - sum(chosen))
        if sum(chosen) == 2:
            one_left = max(one_left, min(unexplained_shares(sigma)))
        if chosen == (1.0, 1.0, 0.0):
            all_left = max(all_left, *unexplained_shares(sigma))
        if sum(chosen) == 3:
            unexplained = min(unexplained, *unexplained_shares(sigma))
    s = np.array([1.0, 0.5, 0.0])
    target, v = to_spatial(np.array([5.0, 10.0, 0.0])), to_spatial(np.array([0.0, 0.0, 1.0]))
    lengths = generator.uniform(-10, 10, problems)
    others = target + lengths[:, None] * v
    risk = float(standard_risk(to_frequency(others - target), s).max())
    norms = float(np.abs((others**2).sum(1) - (target**2).sum() - lengths**2).max())
    columns = {"problems": problems}
    return [
        check_row("rank of Sigma", "sum of differences to the relevant frequencies", wrong, "==", 0.0, **columns),
        check_row("a redundant dimension", "unexplained share", one_left, "==", 0.0, tolerance=1e-9, **columns),
        check_row("every dimension", "largest unexplained share", all_left, "==", 0.0, tolerance=1e-9, **columns),
        check_row("no redundancy without", "smallest unexplained share", unexplained, ">", 0.01, **columns),
        check_row("other minimisers", "largest standard risk", risk, "==", 0.0, tolerance=1e-12, **columns),
        check_row(
            "norm of other minimisers", "largest error of its square", norms, "==", 0.0, tolerance=1e-9, **columns
        ),
    ]


def unexplained_shares(sigma: Array) -> list[float]:
    """Return of each dimension the share of its variance that no linear combination of the others explains."""
    shares = []
    for j in range(len(sigma)):
        rest = np.delete(np.arange(len(sigma)), j)
        cross = sigma[rest, j]
        explained = cross @ np.linalg.pinv(sigma[np.ix_(rest, rest)], rcond=1e-9) @ cross
        shares.append(1 - float(explained) / float(sigma[j, j]))
    return shares
