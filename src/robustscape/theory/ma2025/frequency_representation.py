"""ma2025 table 4.8: inputs with chosen frequencies, in the spatial domain."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from robustscape.theory.ma2025._frequency_regression import covariance, to_spatial


def frequency_representation() -> list[dict[str, Any]]:
    """Return, for every set of non-zero frequencies of a 3-d input, the coefficient of x~_k in x_j = (C^T x~)_j.

    Beside them the number of linearly independent dimensions of the input, the rank of its covariance.
    """
    rows: list[dict[str, Any]] = []
    for active in sorted(itertools.product((0, 1), repeat=3), key=lambda one: (sum(one), [-k for k in one])):
        if not any(active):
            continue
        mask = "".join(map(str, active))
        words = ", ".join(f"X̃{'₀₁₂'[k]}" if on else "0" for k, on in enumerate(active))
        common = {"active_frequencies_mask": mask, "in_the_frequency_domain": f"({words})", "unit": "1"}
        spatial = to_spatial(np.diag(np.array(active, dtype=float)))  # row k: the image of frequency k
        for j, k in itertools.product(range(3), repeat=2):
            rows.append(
                {
                    **common,
                    "spatial_index": j,
                    "frequency_index": k,
                    "metric": "coefficient_of_freq_k_in_spatial_j",
                    "value": float(spatial[k, j]),
                }
            )
        rank = int(np.linalg.matrix_rank(covariance(np.array(active, dtype=float)), tol=1e-9))
        rows.append({**common, "metric": "independent_dimensions", "value": float(rank)})
    return rows
